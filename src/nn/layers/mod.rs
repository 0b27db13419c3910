//! The layers the networks are made of, as dfdx modules: tensors with PyTorch's names, forward with a tape in
//! training mode (`ModuleMut`) and without one in evaluation mode (`Module`). They know no device.

mod activation;
mod block;
mod bottleneck;
mod head;
mod named;
mod norm;
mod pool;

pub use activation::{Identity, LeakyRelu, Relu};
pub use block::Block;
pub use bottleneck::{Bottleneck, Direct, Projection, Stem};
pub use head::Head;
pub use named::{Name, Named};

pub use pool::MaxPool;
