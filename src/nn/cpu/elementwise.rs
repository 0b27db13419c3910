//! Loops over every value of feature maps (batch, channels, space), parallel over samples.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::fresh::filled;
use super::lanes::vectorize;
use super::sums::sum;

/// How many values one task takes where samples do not matter.
const BLOCK: usize = 1 << 14;

/// x for x > 0, else `negative_slope` x.
#[inline(always)]
pub fn activate(x: f32, negative_slope: f32) -> f32 {
    let scaled = x * negative_slope;
    if x > 0.0 { x } else { scaled }
}

/// Turns the gradient of act(z) into that of z, by the sign of y = act(z).
pub fn undo_activation(dy: &mut [f32], y: &[f32], negative_slope: f32) {
    vectorize(move || {
        for (d, &y) in dy.iter_mut().zip(y) {
            *d *= if y > 0.0 { 1.0 } else { negative_slope };
        }
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

/// The sum of vectors of one length, in their order.
pub fn sum_of(vectors: Vec<Vec<f32>>) -> Vec<f32> {
    let mut vectors = vectors.into_iter();
    let mut total = vectors.next().unwrap_or_default();
    let rest = vectors.as_slice();
    total.par_chunks_mut(BLOCK).enumerate().for_each(|(block, total)| {
        for vector in rest {
            let vector = &vector[block * BLOCK..][..total.len()];
            vectorize(|| total.iter_mut().zip(vector).for_each(|(total, value)| *total += value));
        }
    });
    total
}

/// Each of as many parts as there are factors, times its factor.
pub fn scaled(values: &[f32], factors: &[f32]) -> Vec<f32> {
    let mut scaled = Vec::with_capacity(values.len());
    for (values, factor) in values.chunks_exact(values.len() / factors.len()).zip(factors) {
        scaled.extend(values.iter().map(|value| value * factor));
    }
    scaled
}

/// y = act(y + x), on the calling thread.
pub fn join(y: &mut [f32], x: &[f32], negative_slope: f32) {
    vectorize(move || {
        for (y, x) in y.iter_mut().zip(x) {
            *y = activate(*y + x, negative_slope);
        }
    });
}

/// act(factor x + offset + more), with a factor and an offset per channel.
pub fn rescale(
    x: &[f32],
    batch: usize,
    (factor, offset): (&[f32], &[f32]),
    more: Option<&[f32]>,
    negative_slope: f32,
) -> Vec<f32> {
    let sample = x.len() / batch;
    let space = sample / factor.len();
    assert_eq!(x.len(), batch * factor.len() * space, "whole maps");
    assert!(more.is_none_or(|more| more.len() == x.len()), "maps of one size");
    let fill = |y: &mut [MaybeUninit<f32>]| {
        let planes = y.par_chunks_mut(space).zip(x.par_chunks(space)).enumerate();
        planes.with_max_len(factor.len()).for_each(|(plane, (y, x))| {
            let (factor, offset) = (factor[plane % factor.len()], offset[plane % offset.len()]);
            let more = more.map(|more| &more[plane * space..][..space]);
            vectorize(move || match more {
                None => {
                    for (y, x) in y.iter_mut().zip(x) {
                        y.write(activate(factor * x + offset, negative_slope));
                    }
                }
                Some(more) => {
                    for ((y, x), more) in y.iter_mut().zip(x).zip(more) {
                        y.write(activate(factor * x + offset + more, negative_slope));
                    }
                }
            });
        });
    };
    // SAFETY: x is as long as y, and falls into whole maps.
    unsafe { filled(x.len(), fill) }
}

/// sums += the sum of each channel; there are as many channels as sums.
pub fn sum_per_channel(x: &[f32], batch: usize, sums: &mut [f32]) {
    let space = x.len() / batch / sums.len();
    let parts: Vec<[f64; 1]> = x.par_chunks(space).map(|x| [sum(x)]).collect();
    let totals = totals(&parts, sums.len());
    for (sum, [total]) in sums.iter_mut().zip(&totals) {
        *sum += *total as f32;
    }
}

/// For each channel, the sum over the batch of what was found for its part of each sample (sample by sample, channel by
/// channel). Samples are added in their order, so the number of threads does not matter.
pub fn totals<const N: usize>(parts: &[[f64; N]], channels: usize) -> Vec<[f64; N]> {
    let mut totals = vec![[0.0; N]; channels];
    for sample in parts.chunks_exact(channels) {
        for (total, part) in totals.as_flattened_mut().iter_mut().zip(sample.as_flattened()) {
            *total += part;
        }
    }
    totals
}
