//! Batch norm in training: statistics of a batch, and the gradient through them.
//!
//! For each channel of m values: xhat = (x - mean) / sqrt(variance + eps), y = act(scale xhat + shift + shortcut). With
//! g = dy act'(y), that of the shortcut, the gradient is dshift = sum g, dscale = sum g xhat and
//! dx = scale / sqrt(variance + eps) (g - (dshift + xhat dscale) / m).

use rayon::prelude::*;

use super::elementwise::{totals, undo_activation};
use super::lanes::vectorize;
use super::sums::sums;
use crate::nn::kernels::Moments;

/// How many gradients are kept at hand between the loop that finds them and the one that sums them.
const TOGETHER: usize = 256;

/// The sum of the values of a part of a channel, and that of their squares.
pub fn powers(x: &[f32]) -> [f64; 2] {
    sums(x, x)
}

/// g = dy act'(y), by the sign of y before the activation.
fn select(g: &mut [f32], x: &[f32], dy: &[f32], [factor, offset, negative_slope]: [f32; 3]) {
    vectorize(move || {
        for ((g, x), dy) in g.iter_mut().zip(x).zip(dy) {
            let scaled = dy * negative_slope;
            *g = if factor * x + offset > 0.0 { *dy } else { scaled };
        }
    });
}

/// Mean and biased variance of each channel of `count` values, from the powers of its part of each sample.
pub fn moments(powers: &[[f64; 2]], channels: usize, count: usize) -> Moments {
    let totals = totals(powers, channels);
    let mean: Vec<f64> = totals.iter().map(|[sum, _]| sum / count as f64).collect();
    // In f64, squares of f32 values leave 29 bits for the difference.
    let variance = |[_, squares]: &[f64; 2], m: &f64| (squares / count as f64 - m * m).max(0.0);
    Moments { variance: totals.iter().zip(&mean).map(|(sums, mean)| variance(sums, mean)).collect(), mean }
}

/// How a batch norm maps each channel: y = act(factor x + offset), xhat = (x - mean) inverse.
pub struct Standardization {
    /// scale / sqrt(variance + eps).
    pub factor: Vec<f32>,
    /// shift - factor mean.
    pub offset: Vec<f32>,
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

/// Sums over all values of each channel: g, and g xhat.
pub struct GradientSums(Vec<[f64; 2]>);

impl Standardization {
    /// The map for these statistics and parameters.
    pub fn new(moments: &Moments, scale: &[f32], shift: &[f32], eps: f32) -> Standardization {
        let channels = || moments.mean.iter().zip(&moments.variance).zip(scale.iter().zip(shift));
        let inverse = |variance: f64| 1.0 / (variance + f64::from(eps)).sqrt();
        let factor = |variance: f64, scale: f32| f64::from(scale) * inverse(variance);
        Standardization {
            factor: channels().map(|((_, &v), (&scale, _))| factor(v, scale) as f32).collect(),
            offset: channels()
                .map(|((&mean, &v), (&scale, &shift))| (f64::from(shift) - factor(v, scale) * mean) as f32)
                .collect(),
            mean: moments.mean.iter().map(|&m| m as f32).collect(),
            inverse: moments.variance.iter().map(|&v| inverse(v) as f32).collect(),
        }
    }

    /// The sums that all three gradients need, for y = act(factor x + offset).
    pub fn gradient_sums(&self, x: &[f32], dy: &[f32], batch: usize, negative_slope: f32) -> GradientSums {
        let space = x.len() / batch / self.factor.len();
        let planes = x.par_chunks(space).zip(dy.par_chunks(space)).enumerate();
        let parts: Vec<[f64; 2]> = planes
            .map(|(plane, (x, dy))| {
                let [factor, offset, ..] = self.channel(plane);
                let mut total = [0.0; 2];
                let mut g = [0.0; TOGETHER];
                for (x, dy) in x.chunks(TOGETHER).zip(dy.chunks(TOGETHER)) {
                    let g = &mut g[..x.len()];
                    select(g, x, dy, [factor, offset, negative_slope]);
                    let [shift, scale] = sums(g, x);
                    total = [total[0] + shift, total[1] + scale];
                }
                self.gradients(plane, total)
            })
            .collect();
        GradientSums(totals(&parts, self.factor.len()))
    }

    /// The same for y = act(factor x + offset + shortcut), where dy becomes the gradient of the shortcut.
    pub fn gradient_sums_of_shortcut(
        &self,
        x: &[f32],
        y: &[f32],
        dy: &mut [f32],
        batch: usize,
        negative_slope: f32,
    ) -> GradientSums {
        let space = x.len() / batch / self.factor.len();
        let planes = x.par_chunks(space).zip(y.par_chunks(space)).zip(dy.par_chunks_mut(space)).enumerate();
        let parts: Vec<[f64; 2]> = planes
            .map(|(plane, ((x, y), dy))| {
                undo_activation(dy, y, negative_slope);
                self.gradients(plane, sums(dy, x))
            })
            .collect();
        GradientSums(totals(&parts, self.factor.len()))
    }

    /// Stores the gradient of the input before its own activation, from that of y = act(factor x + offset), for a sample out of
    /// `batch`; `slopes` are the factors for negative inputs and outputs.
    pub fn input_gradient(
        &self,
        x: &[f32],
        gradient: &[f32],
        to: &mut [f32],
        (batch, sums): (usize, &GradientSums),
        slopes: (f32, f32),
    ) {
        let space = x.len() / self.factor.len();
        let planes = gradient.chunks_exact(space).zip(x.chunks_exact(space));
        for (channel, (to, (gradient, x))) in to.chunks_exact_mut(space).zip(planes).enumerate() {
            let input_gradient = self.input_gradient_at(channel, space * batch, sums, slopes);
            vectorize(move || {
                for ((to, &d), &x) in to.iter_mut().zip(gradient).zip(x) {
                    *to = input_gradient(x, d);
                }
            });
        }
    }

    /// How to find it from an input and the gradient of its output, in a channel of `count` values.
    #[inline(always)]
    fn input_gradient_at(
        &self,
        channel: usize,
        count: usize,
        sums: &GradientSums,
        (input_slope, negative_slope): (f32, f32),
    ) -> impl Fn(f32, f32) -> f32 + Copy + Send {
        let [factor, offset, mean, inverse] = self.channel(channel);
        let [shift, scale] = sums.0[channel].map(|sum| (sum / count as f64) as f32);
        move |x, d| {
            let scaled = d * negative_slope;
            let g = if factor * x + offset > 0.0 { d } else { scaled };
            let g = factor * (g - shift - (x - mean) * inverse * scale);
            g * if x > 0.0 { 1.0 } else { input_slope }
        }
    }

    /// The parts of a plane in the gradients of shift and scale, from the sums of g and of g x.
    fn gradients(&self, plane: usize, [g, gx]: [f64; 2]) -> [f64; 2] {
        let [_, _, mean, inverse] = self.channel(plane).map(f64::from);
        [g, (gx - mean * g) * inverse]
    }

    /// What a plane's channel needs.
    fn channel(&self, plane: usize) -> [f32; 4] {
        let c = plane % self.factor.len();
        [self.factor[c], self.offset[c], self.mean[c], self.inverse[c]]
    }
}

impl GradientSums {
    /// The gradient of the scale.
    pub fn scale(&self) -> Vec<f32> {
        self.0.iter().map(|sums| sums[1] as f32).collect()
    }

    /// The gradient of the shift.
    pub fn shift(&self) -> Vec<f32> {
        self.0.iter().map(|sums| sums[0] as f32).collect()
    }
}
