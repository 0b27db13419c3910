//! Batch norm in training: statistics of a batch, and the gradient through them.
//!
//! For each channel of m values: xhat = (x - mean) / sqrt(variance + eps), y = act(scale xhat + shift + shortcut). From the gradient g
//! before the activation, which is also that of the shortcut, come dshift = sum g, dscale = sum g xhat and
//! dx = scale / sqrt(variance + eps) (g - (dshift + xhat dscale) / m).

use rayon::prelude::*;

use super::elementwise::totals;
use super::lanes::vectorize;
use super::sums::sums;
use crate::nn::kernels::Moments;

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

    /// The sums that all three gradients need, from the gradient g before the activation.
    pub fn gradient_sums(&self, x: &[f32], gradient: &[f32], batch: usize) -> GradientSums {
        let space = x.len() / batch / self.factor.len();
        let planes = x.par_chunks(space).zip(gradient.par_chunks(space)).enumerate();
        let planes = planes.with_max_len(self.factor.len());
        let parts: Vec<[f64; 2]> =
            planes.map(|(plane, (x, gradient))| self.gradients(plane, sums(gradient, x))).collect();
        GradientSums(totals(&parts, self.factor.len()))
    }

    /// Stores the gradient of the input before its own activation, for a sample out of `batch`; `input_slope` is the factor of that
    /// for negative values.
    pub fn input_gradient(
        &self,
        x: &[f32],
        gradient: &[f32],
        to: &mut [f32],
        (batch, sums): (usize, &GradientSums),
        input_slope: f32,
    ) {
        let space = x.len() / self.factor.len();
        let planes = gradient.chunks_exact(space).zip(x.chunks_exact(space));
        for (channel, (to, (gradient, x))) in to.chunks_exact_mut(space).zip(planes).enumerate() {
            let input_gradient = self.input_gradient_at(channel, space * batch, sums, input_slope);
            vectorize(move || {
                for ((to, &d), &x) in to.iter_mut().zip(gradient).zip(x) {
                    *to = input_gradient(x, d);
                }
            });
        }
    }

    /// How to find it from an input and the gradient before the activation of its output, in a channel of `count` values.
    #[inline(always)]
    fn input_gradient_at(
        &self,
        channel: usize,
        count: usize,
        sums: &GradientSums,
        input_slope: f32,
    ) -> impl Fn(f32, f32) -> f32 + Copy + Send {
        let [factor, mean, inverse] = self.channel(channel);
        let [shift, scale] = sums.0[channel].map(|sum| (sum / count as f64) as f32);
        move |x, g| {
            let g = factor * (g - shift - (x - mean) * inverse * scale);
            g * if x > 0.0 { 1.0 } else { input_slope }
        }
    }

    /// The parts of a plane in the gradients of shift and scale, from the sums of g and of g x.
    fn gradients(&self, plane: usize, [g, gx]: [f64; 2]) -> [f64; 2] {
        let [_, mean, inverse] = self.channel(plane).map(f64::from);
        [g, (gx - mean * g) * inverse]
    }

    /// What a plane's channel needs.
    fn channel(&self, plane: usize) -> [f32; 3] {
        let c = plane % self.factor.len();
        [self.factor[c], self.mean[c], self.inverse[c]]
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
