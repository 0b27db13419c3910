//! Stochastic gradient descent as `torch.optim.SGD` has it, with dampening 0 (Sutskever et al., "On the importance
//! of initialization and momentum in deep learning", ICML 2013).
//!
//! For a parameter p with gradient g: g += weight_decay p; b = momentum b + g, which is g at the first step, where
//! b is 0; p -= lr b, or with Nesterov's momentum p -= lr (g + momentum b).

use rayon::prelude::*;

use super::BLOCK;

/// One step.
pub(super) struct Sgd {
    pub lr: f64,
    pub weight_decay: f64,
    pub momentum: f64,
    pub nesterov: bool,
}

impl Sgd {
    /// Moves a parameter against its gradient; `buffer` is what the steps before have left.
    pub fn update(&self, parameter: &mut [f32], gradient: &[f32], buffer: &mut [f32]) {
        let [lr, decay, momentum] = [self.lr, self.weight_decay, self.momentum].map(|share| share as f32);
        // p -= lr (gradient_share g + buffer_share b)
        let (gradient_share, buffer_share) = if self.nesterov { (1.0, momentum) } else { (0.0, 1.0) };
        parameter
            .par_chunks_mut(BLOCK)
            .zip(gradient.par_chunks(BLOCK))
            .zip(buffer.par_chunks_mut(BLOCK))
            .for_each(|((parameter, gradient), buffer)| {
                for ((p, g), b) in parameter.iter_mut().zip(gradient).zip(buffer) {
                    let g = g + decay * *p;
                    *b = momentum * *b + g;
                    *p -= lr * (gradient_share * g + buffer_share * *b);
                }
            });
    }
}
