//! Activations of the form x for x > 0, `NEGATIVE` x otherwise, as types: the layers fuse them into the
//! operation before.

/// The factor for negative values, at compile time.
pub trait Slope: Default + Clone + Send + 'static {
    /// The factor.
    const NEGATIVE: f32;
}

/// max(x, 0).
#[derive(Debug, Default, Clone)]
pub struct Relu;

impl Slope for Relu {
    const NEGATIVE: f32 = 0.0;
}

/// max(x, x / 10).
#[derive(Debug, Default, Clone)]
pub struct LeakyRelu;

impl Slope for LeakyRelu {
    const NEGATIVE: f32 = 0.1;
}

/// x.
#[derive(Debug, Default, Clone)]
pub struct Identity;

impl Slope for Identity {
    const NEGATIVE: f32 = 1.0;
}
