//! The three networks, layer by layer, as the tables of the experiments have them. The first two keep what
//! looks like an oversight: block 1 applies its activation twice, and the logits pass through one too.

use super::layers::{Block, Bottleneck, Direct, Head, Identity, MaxPool, Name, Named, Projection, Stem};

/// The number of classes the networks are compiled for.
pub const CLASSES: usize = 10;

/// Four blocks (number, in, out, kernel, stride, padding); 1,565,706 parameters.
pub type Lenet<A, B, D> = (
    (Block<1, 3, 64, 7, 2, 3, A, B, D>, MaxPool<2, 2, 0, B>),
    Block<2, 64, 128, 3, 1, 2, A, B, D>,
    (Block<3, 128, 256, 3, 1, 2, A, B, D>, MaxPool<2, 2, 0, B>),
    Block<4, 256, 512, 3, 1, 2, A, B, D>,
    Named<FcLayer1, Head<512, CLASSES, A, B, D>>,
);

/// Eight blocks (number, in, out, kernel, stride, padding); 1,899,274 parameters.
pub type CustomNet<A, B, D> = (
    (Block<1, 3, 64, 5, 2, 3, A, B, D>, MaxPool<2, 2, 0, B>),
    (
        Block<2, 64, 128, 4, 1, 2, A, B, D>,
        Block<3, 128, 128, 4, 1, 2, A, B, D>,
        Block<4, 128, 128, 1, 1, 0, A, B, D>,
    ),
    (Block<5, 128, 256, 3, 1, 2, A, B, D>, Block<6, 256, 256, 3, 1, 2, A, B, D>),
    (Block<7, 256, 256, 1, 1, 0, A, B, D>, MaxPool<2, 2, 0, B>),
    Block<8, 256, 512, 2, 1, 2, A, B, D>,
    Named<FcLayer1, Head<512, CLASSES, A, B, D>>,
);

/// ResNeXt of 12 bottlenecks (in, width, channels per group, out, stride), 8 groups; 1,939,530 parameters.
pub type Resnext<A, B, D> = (
    (Stem<64, A, B, D>, MaxPool<3, 2, 1, B>),
    Named<
        Layer1,
        (
            Bottleneck<64, 32, 4, 256, 1, Projection<64, 256, 1, B, D>, A, B, D>,
            Bottleneck<256, 32, 4, 256, 1, Direct, A, B, D>,
            Bottleneck<256, 32, 4, 256, 1, Direct, A, B, D>,
        ),
    >,
    Named<
        Layer2,
        (
            Bottleneck<256, 64, 8, 512, 2, Projection<256, 512, 2, B, D>, A, B, D>,
            Bottleneck<512, 64, 8, 512, 1, Direct, A, B, D>,
            Bottleneck<512, 64, 8, 512, 1, Direct, A, B, D>,
            Bottleneck<512, 64, 8, 512, 1, Direct, A, B, D>,
            Bottleneck<512, 64, 8, 512, 1, Direct, A, B, D>,
            Bottleneck<512, 64, 8, 512, 1, Direct, A, B, D>,
        ),
    >,
    Named<
        Layer3,
        (
            Bottleneck<512, 128, 16, 1024, 2, Projection<512, 1024, 2, B, D>, A, B, D>,
            Bottleneck<1024, 128, 16, 1024, 1, Direct, A, B, D>,
            Bottleneck<1024, 128, 16, 1024, 1, Direct, A, B, D>,
        ),
    >,
    Named<Fc, Head<1024, CLASSES, Identity, B, D>>,
);

/// Declares names at compile time.
macro_rules! names {
    ($($type:ident = $name:literal),+ $(,)?) => {$(
        #[doc = concat!("`", $name, "`")]
        #[derive(Debug, Clone)]
        pub struct $type;

        impl Name for $type {
            const NAME: &'static str = $name;
        }
    )+};
}

names! { FcLayer1 = "fc_layer_1", Layer1 = "layer1", Layer2 = "layer2", Layer3 = "layer3", Fc = "fc" }
