//! Image transforms with torchvision's semantics on Pillow's arithmetic, and the random choice of their
//! parameters. It turns a dataset into samples, and knows nothing of stages or networks.
