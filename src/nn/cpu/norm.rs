//! Batch norm in training: statistics of a batch, and the gradient through them.
//!
//! For each channel of m values: xhat = (x - mean) / sqrt(variance + eps), y = act(scale xhat + shift). With
//! g = dy act'(y), the gradient is dshift = sum g, dscale = sum g xhat and
//! dx = scale / sqrt(variance + eps) (g - (dshift + xhat dscale) / m).

use rayon::prelude::*;

use super::elementwise::{sums_of, totals_per_channel};
use super::lanes::vectorize;
use crate::nn::kernels::Moments;

/// Mean and biased variance of each channel of x (batch, channels, space).
pub fn moments(x: &[f32], batch: usize, channels: usize) -> Moments {
    let count = (x.len() / channels) as f64;
    let totals = totals_per_channel(x, x.len() / batch, channels, |x, _| sums_of(x, x, |x, _| [x, x * x]));
    let mean: Vec<f64> = totals.iter().map(|[sum, _]| sum / count).collect();
    // In f64, squares of f32 values leave 29 bits for the difference.
    let variance =
        totals.iter().zip(&mean).map(|([_, squares], m)| (squares / count - m * m).max(0.0)).collect();
    Moments { mean, variance }
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

    /// The sums that all three gradients need.
    pub fn gradient_sums(&self, x: &[f32], dy: &[f32], batch: usize, negative_slope: f32) -> GradientSums {
        let totals = totals_per_channel(x, x.len() / batch, self.factor.len(), |x, place| {
            let dy = &dy[place.start..][..x.len()];
            let [factor, offset, mean, inverse] = self.channel(place.channel).map(f64::from);
            let slope = f64::from(negative_slope);
            let [shift, scale] = sums_of(x, dy, |x, dy| {
                let scaled = dy * slope;
                let g = if factor * x + offset > 0.0 { dy } else { scaled };
                [g, g * (x - mean)]
            });
            [shift, scale * inverse]
        });
        GradientSums(totals)
    }

    /// Turns the gradient of the output into that of the input before its own activation, where `x` is the input
    /// and `slopes` are the factors for negative inputs and outputs.
    pub fn to_input_gradient(
        &self,
        x: &[f32],
        gradient: &mut [f32],
        batch: usize,
        sums: &GradientSums,
        (input_slope, negative_slope): (f32, f32),
    ) {
        let channels = self.factor.len();
        let count = (x.len() / channels) as f64;
        let sample = x.len() / batch;
        let space = sample / channels;
        gradient.par_chunks_mut(sample).zip(x.par_chunks(sample)).for_each(|(gradient, x)| {
            let maps = gradient.chunks_exact_mut(space).zip(x.chunks_exact(space));
            for (c, (gradient, x)) in maps.enumerate() {
                let [factor, offset, mean, inverse] = self.channel(c);
                let [shift, scale] = sums.0[c].map(|sum| (sum / count) as f32);
                vectorize(move || {
                    for (d, &x) in gradient.iter_mut().zip(x) {
                        let scaled = *d * negative_slope;
                        let g = if factor * x + offset > 0.0 { *d } else { scaled };
                        let g = factor * (g - shift - (x - mean) * inverse * scale);
                        *d = g * if x > 0.0 { 1.0 } else { input_slope };
                    }
                });
            }
        });
    }

    fn channel(&self, c: usize) -> [f32; 4] {
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
