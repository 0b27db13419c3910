//! Adam as `torch.optim.Adam` has it (Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015),
//! and AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019), which differ in where
//! the weight decay goes.
//!
//! For a parameter p with gradient g, at step t: g += weight_decay p (Adam) or p *= 1 - lr weight_decay (AdamW);
//! m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g g; p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps).

use rayon::prelude::*;

use super::BLOCK;

/// How much of each moment is kept at a step.
const BETAS: (f64, f64) = (0.9, 0.999);

/// Keeps the quotient finite.
const EPS: f32 = 1e-8;

/// One step, with everything that is the same for all values worked out.
pub(super) struct Adam {
    /// What a value is multiplied by.
    keep: f32,
    /// How much of a value is added to its gradient.
    decay: f32,
    step_size: f32,
    /// sqrt(1 - b2^t).
    second_scale: f32,
}

impl Adam {
    /// Step number `step`, counted from 1, of Adam.
    pub fn new(lr: f64, step: u64, weight_decay: f64) -> Adam {
        let step = step as f64;
        Adam {
            keep: 1.0,
            decay: weight_decay as f32,
            step_size: (lr / (1.0 - BETAS.0.powf(step))) as f32,
            second_scale: (1.0 - BETAS.1.powf(step)).sqrt() as f32,
        }
    }

    /// Step number `step`, counted from 1, of AdamW.
    pub fn decoupled(lr: f64, step: u64, weight_decay: f64) -> Adam {
        Adam { keep: (1.0 - lr * weight_decay) as f32, ..Adam::new(lr, step, 0.0) }
    }

    /// Moves a parameter against its gradient; `first` and `second` are the running means of the gradient and of
    /// its square.
    pub fn update(&self, parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Adam { keep, decay, step_size, second_scale } = *self;
        let [keep1, add1, keep2, add2] =
            [BETAS.0, 1.0 - BETAS.0, BETAS.1, 1.0 - BETAS.1].map(|share| share as f32);
        parameter
            .par_chunks_mut(BLOCK)
            .zip(gradient.par_chunks(BLOCK))
            .zip(first.par_chunks_mut(BLOCK))
            .zip(second.par_chunks_mut(BLOCK))
            .for_each(|(((parameter, gradient), first), second)| {
                for (((p, g), m), v) in parameter.iter_mut().zip(gradient).zip(first).zip(second) {
                    let g = g + decay * *p;
                    *m = keep1 * *m + add1 * g;
                    *v = keep2 * *v + add2 * g * g;
                    *p = keep * *p - step_size * *m / (v.sqrt() / second_scale + EPS);
                }
            });
    }
}
