//! Loops over every value of feature maps (batch, channels, space), parallel over samples.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::fresh::filled;
use super::lanes::vectorize;

/// How many values one task takes where samples do not matter.
const BLOCK: usize = 1 << 16;

/// x for x > 0, else `negative_slope` x.
#[inline(always)]
pub fn activate(x: f32, negative_slope: f32) -> f32 {
    let scaled = x * negative_slope;
    if x > 0.0 { x } else { scaled }
}

/// Turns the gradient of act(z) into that of z, by the sign of y = act(z).
pub fn undo_activation(dy: &mut [f32], y: &[f32], negative_slope: f32) {
    if negative_slope == 1.0 {
        return;
    }
    dy.par_chunks_mut(BLOCK).zip(y.par_chunks(BLOCK)).for_each(|(dy, y)| {
        vectorize(move || {
            for (d, &y) in dy.iter_mut().zip(y) {
                *d *= if y > 0.0 { 1.0 } else { negative_slope };
            }
        });
    });
}

/// to += from.
pub fn add(to: &mut [f32], from: &[f32]) {
    to.par_chunks_mut(BLOCK).zip(from.par_chunks(BLOCK)).for_each(|(to, from)| {
        vectorize(move || {
            for (t, f) in to.iter_mut().zip(from) {
                *t += f;
            }
        });
    });
}

/// act(x + y).
pub fn join(x: &[f32], y: &[f32], negative_slope: f32) -> Vec<f32> {
    assert_eq!(x.len(), y.len(), "maps of one size");
    let fill = |z: &mut [MaybeUninit<f32>]| {
        z.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).zip(y.par_chunks(BLOCK)).for_each(|((z, x), y)| {
            vectorize(move || {
                for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
                    z.write(activate(x + y, negative_slope));
                }
            });
        });
    };
    // SAFETY: x and y are as long as z.
    unsafe { filled(x.len(), fill) }
}

/// act(factor x + offset), with a factor and an offset per channel.
pub fn rescale(x: &[f32], batch: usize, factor: &[f32], offset: &[f32], negative_slope: f32) -> Vec<f32> {
    let sample = x.len() / batch;
    let space = sample / factor.len();
    assert_eq!(x.len(), batch * factor.len() * space, "whole maps");
    let fill = |y: &mut [MaybeUninit<f32>]| {
        y.par_chunks_mut(sample).zip(x.par_chunks(sample)).for_each(|(y, x)| {
            for (c, (y, x)) in y.chunks_exact_mut(space).zip(x.chunks_exact(space)).enumerate() {
                let (factor, offset) = (factor[c], offset[c]);
                vectorize(move || {
                    for (y, x) in y.iter_mut().zip(x) {
                        y.write(activate(factor * x + offset, negative_slope));
                    }
                });
            }
        });
    };
    // SAFETY: x is as long as y, and falls into whole maps.
    unsafe { filled(x.len(), fill) }
}

/// sums += the sum of each channel; there are as many channels as sums.
pub fn sum_per_channel(x: &[f32], batch: usize, sums: &mut [f32]) {
    let sample = x.len() / batch;
    let totals = totals_per_channel(x, sample, sums.len(), |x, _| [sum(x)]);
    for (sum, [total]) in sums.iter_mut().zip(totals) {
        *sum += total as f32;
    }
}

/// For each channel, the sum over the batch of what `measure` says of its part of a sample. Samples are added
/// in their order, so the number of threads does not matter.
pub fn totals_per_channel<const N: usize>(
    x: &[f32],
    sample: usize,
    channels: usize,
    measure: impl Fn(&[f32], Place) -> [f64; N] + Sync,
) -> Vec<[f64; N]> {
    let space = sample / channels;
    let parts: Vec<Vec<[f64; N]>> = x
        .par_chunks(sample)
        .enumerate()
        .map(|(n, x)| {
            let channels = x.chunks_exact(space).enumerate();
            channels
                .map(|(channel, x)| {
                    vectorize(|| measure(x, Place { channel, start: n * sample + channel * space }))
                })
                .collect()
        })
        .collect();
    let mut totals = vec![[0.0; N]; channels];
    for part in parts {
        for (total, part) in totals.iter_mut().zip(part) {
            for (total, part) in total.iter_mut().zip(part) {
                *total += part;
            }
        }
    }
    totals
}

/// Where a channel of a sample stands.
pub struct Place {
    /// Which channel.
    pub channel: usize,
    /// The index of its first value in the whole batch.
    pub start: usize,
}

/// The sum, in eight lanes of f64 that are added in a fixed order.
#[inline(always)]
pub fn sum(x: &[f32]) -> f64 {
    let [sum] = sums_of(x, x, |x, _| [x]);
    sum
}

/// The sums of what f(x, y) gives over pairs, each in eight lanes of f64 that are added in a fixed order.
#[inline(always)]
pub fn sums_of<const N: usize>(x: &[f32], y: &[f32], f: impl Fn(f64, f64) -> [f64; N]) -> [f64; N] {
    let mut lanes = [[0.0; 8]; N];
    let (x, x_rest) = x.as_chunks::<8>();
    let (y, y_rest) = y.as_chunks::<8>();
    for (x, y) in x.iter().zip(y) {
        for lane in 0..8 {
            let values = f(f64::from(x[lane]), f64::from(y[lane]));
            for n in 0..N {
                lanes[n][lane] += values[n];
            }
        }
    }
    for (lane, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
        let values = f(f64::from(x), f64::from(y));
        for n in 0..N {
            lanes[n][lane] += values[n];
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}
