//! Convolution, by whichever way suits its sizes. The choice depends on nothing else, so that results repeat.
//!
//! With x (batch, in, height, width), filters w (out, in / groups, K, K):
//! y[n, o, r, c] = act(b[o] + sum over i, s, t of w[o, i, s, t] x[n, i, r stride + s - padding, ..]).

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::finish::{Added, Fresh, Output};
use super::fresh::{filled, zeroed};
use super::geometry::Geometry;
use super::level::Level;
use super::product::{Packed, Rounding};
use super::shifted::{self, OutputGradient};
use super::{elementwise, unfolded, winograd};

/// What is done with each sample of an output, by its number, while it is still in the cache. Dynamic, since every
/// network's every layer has its own, and none is worth its own copy of the loops.
pub type Then<'a, T> = &'a (dyn Fn(usize, &mut [f32]) -> T + Sync);

/// Filters as the forward pass reads them. They serve any number of batches, of images of any size.
#[derive(Debug, Clone)]
pub struct Prepared {
    factors: Vec<Packed>,
    how: (Rounding, Level),
}

impl Prepared {
    /// Prepares filters for convolutions that are like this one but for the size of the images.
    pub fn new(g: &Geometry, filters: &[f32], how: (Rounding, Level)) -> Prepared {
        let factors = match winograd::Tiling::of(g) {
            Some(tiling) => tiling.prepare(g, filters, how),
            None => shifted::prepare(g, filters, how.1),
        };
        Prepared { factors, how }
    }
}

/// The output for a batch x, and what was made of each sample of it.
pub fn forward<T: Send>(
    g: &Geometry,
    x: &[f32],
    filters: &Prepared,
    finish: Output,
    then: Then<'_, T>,
) -> (Vec<f32>, Vec<T>) {
    let Prepared { factors, how } = filters;
    let mut results = Vec::new();
    // SAFETY: a pass stores every value of the output; so it has those of a sample before the sample is shown.
    let y = unsafe {
        filled(x.len() / g.sample() * g.out_sample(), |y| {
            let then = |sample: usize, y: &mut [MaybeUninit<f32>]| then(sample, y.assume_init_mut());
            results = match winograd::Tiling::of(g) {
                Some(tiling) => tiling.forward(g, (x, y), factors, finish, *how, then),
                None => shifted::forward(g, (x, y), factors, finish, how.0, then),
            };
        })
    };
    (y, results)
}

/// Where the gradient of the input x goes. What comes of it there becomes the gradient before the activation of this factor for
/// negative values, of which x is the result.
pub enum InputGradient<'a> {
    /// Nobody needs it.
    Unused,
    /// It takes the place of these values.
    Fresh(&'a mut Vec<f32>, f32),
    /// It is added to these values.
    Added(&'a mut [f32], f32),
}

/// The gradient of the filters, and what was made of each sample of that of the output; stores the gradient of the input.
pub fn gradients<T: Send>(
    g: &Geometry,
    x: &[f32],
    filters: &[f32],
    dy: OutputGradient<'_, T>,
    dx: InputGradient<'_>,
    level: Level,
) -> (Vec<f32>, Vec<T>) {
    if let Some(tiling) = winograd::Tiling::of(g) {
        return of_tiles(tiling, g, x, filters, dy, dx, level);
    }
    match dx {
        InputGradient::Unused => {
            let mut nothing = vec![(); x.len() / g.sample()];
            shifted::gradients(g, x, dy, (&mut nothing, &|_, _, _| ()), level)
        }
        InputGradient::Fresh(dx, slope) if g.stride == 1 => {
            let store = shifted::input_gradient(g, filters, Fresh, level);
            let mut results = (Vec::new(), Vec::new());
            let input = |x: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]| {
                store(dy, dx);
                // SAFETY: a pass stores every value.
                undo_activation(g, x, unsafe { dx.assume_init_mut() }, slope);
            };
            // SAFETY: likewise.
            *dx =
                unsafe { filled(x.len(), |dx| results = shifted::gradients(g, x, dy, (dx, &input), level)) };
            results
        }
        InputGradient::Added(dx, slope) if g.stride == 1 => {
            let add = shifted::input_gradient(g, filters, Added, level);
            let input = |x: &[f32], dy: &[f32], dx: &mut [f32]| {
                add(dy, dx);
                undo_activation(g, x, dx, slope);
            };
            shifted::gradients(g, x, dy, (dx, &input), level)
        }
        InputGradient::Fresh(dx, slope) => {
            let add = unfolded::input_gradient(g, filters, level);
            let mut results = (Vec::new(), Vec::new());
            let input = |x: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]| {
                let dx = zeroed(dx);
                add(dy, dx);
                undo_activation(g, x, dx, slope);
            };
            // SAFETY: all of it is filled with zeros.
            *dx =
                unsafe { filled(x.len(), |dx| results = shifted::gradients(g, x, dy, (dx, &input), level)) };
            results
        }
        InputGradient::Added(dx, slope) => {
            let add = unfolded::input_gradient(g, filters, level);
            let input = |x: &[f32], dy: &[f32], dx: &mut [f32]| {
                add(dy, dx);
                undo_activation(g, x, dx, slope);
            };
            shifted::gradients(g, x, dy, (dx, &input), level)
        }
    }
}

/// Turns the gradient of samples x = act(z) into that of z.
fn undo_activation(g: &Geometry, x: &[f32], dx: &mut [f32], negative_slope: f32) {
    if negative_slope != 1.0 {
        let samples = dx.par_chunks_mut(g.sample()).zip(x.par_chunks(g.sample()));
        samples.with_max_len(1).for_each(|(dx, x)| elementwise::undo_activation(dx, x, negative_slope));
    }
}

/// The same by Winograd's method, which gathers tiles from all samples, and so needs the whole gradient of the output.
fn of_tiles<T: Send>(
    tiling: winograd::Tiling,
    g: &Geometry,
    x: &[f32],
    filters: &[f32],
    fill: OutputGradient<'_, T>,
    dx: InputGradient<'_>,
    level: Level,
) -> (Vec<f32>, Vec<T>) {
    let mut results = Vec::new();
    // The zeros stay in the cache, where `fill` finds them.
    let fill = |(sample, dy): (usize, &mut [MaybeUninit<f32>])| fill(sample, zeroed(dy));
    // SAFETY: every sample is written.
    let dy = unsafe {
        filled(x.len() / g.sample() * g.out_sample(), |dy| {
            results = dy.par_chunks_mut(g.out_sample()).enumerate().with_max_len(1).map(fill).collect();
        })
    };
    match dx {
        InputGradient::Unused => {}
        InputGradient::Fresh(dx, slope) => {
            // SAFETY: the tiles of a pass cover the input.
            *dx = unsafe { filled(x.len(), |dx| tiling.input_gradient(g, &dy, filters, (dx, Fresh), level)) };
            undo_activation(g, x, dx, slope);
        }
        InputGradient::Added(dx, slope) => {
            tiling.input_gradient(g, &dy, filters, (dx, Added), level);
            undo_activation(g, x, dx, slope);
        }
    }
    (tiling.filter_gradient(g, x, &dy, level), results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::{Purpose, Stream};

    /// Kernel, stride, padding, groups, input and output channels, height and width of small odd cases.
    const CASES: [[usize; 8]; 18] = [
        [1, 1, 0, 1, 3, 5, 4, 6],
        [1, 2, 0, 1, 4, 2, 5, 7],
        [1, 1, 0, 2, 4, 6, 5, 7],
        [1, 2, 0, 2, 6, 4, 9, 12],
        [1, 1, 1, 1, 2, 2, 3, 4],
        [2, 1, 2, 1, 3, 4, 5, 6],
        [2, 2, 0, 2, 4, 6, 6, 5],
        [3, 1, 2, 1, 2, 3, 7, 5],
        [3, 1, 1, 4, 8, 8, 9, 11],
        [3, 2, 1, 2, 4, 4, 7, 8],
        [4, 1, 2, 1, 3, 2, 9, 6],
        [5, 2, 3, 1, 3, 4, 9, 8],
        [6, 3, 5, 1, 2, 2, 2, 9],
        [7, 2, 3, 1, 3, 4, 3, 11],
        [2, 1, 2, 1, 32, 36, 7, 4],
        [3, 1, 2, 1, 34, 33, 5, 9],
        [3, 1, 0, 1, 32, 32, 4, 3],
        [4, 1, 2, 1, 32, 35, 10, 6],
    ];

    const BATCH: usize = 3;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, Purpose::Init, 0, 0);
        (0..count).map(|_| stream.normal() as f32).collect()
    }

    /// One product of the definition: indices into y, x and w.
    fn products(g: &Geometry) -> Vec<(usize, usize, usize)> {
        let (inputs, outputs) = (g.channels.0 / g.groups, g.group_outputs());
        let mut products = Vec::new();
        for y in 0..BATCH * g.out_sample() {
            let (n, o) = (y / g.out_sample(), y / g.out_space() % g.channels.1);
            let (row, column) = (y / g.out_width() % g.out_height(), y % g.out_width());
            for tap in 0..g.filter() {
                let (i, s, t) = (tap / g.kernel / g.kernel, tap / g.kernel % g.kernel, tap % g.kernel);
                let (r, c) = (row * g.stride + s, column * g.stride + t);
                if (g.padding..g.padding + g.height).contains(&r)
                    && (g.padding..g.padding + g.width).contains(&c)
                {
                    let channel = o / outputs * inputs + i;
                    let x =
                        ((n * g.channels.0 + channel) * g.height + r - g.padding) * g.width + c - g.padding;
                    products.push((y, x, o * g.filter() + tap));
                }
            }
        }
        products
    }

    /// The relative l2 distance must be that of rounding.
    fn assert_near(what: &str, g: &Geometry, ours: &[f32], exact: &[f64]) {
        assert_eq!(ours.len(), exact.len());
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let distance = squares(&mut ours.iter().zip(exact).map(|(&ours, exact)| f64::from(ours) - exact));
        let off = (distance / squares(&mut exact.iter().copied())).sqrt();
        assert!(off < 1e-5, "{what} of {g:?} is off by {off:e}");
    }

    #[test]
    fn output_and_gradients_agree_with_the_definition() {
        for [kernel, stride, padding, groups, inputs, outputs, height, width] in CASES {
            let channels = (inputs, outputs);
            let g = Geometry { channels, groups, kernel, stride, padding, height, width };
            let x = numbers(BATCH * g.sample(), 1);
            let w = numbers(channels.1 * g.filter(), 2);
            let bias = numbers(channels.1, 3);
            let dy = numbers(BATCH * g.out_sample(), 4);
            let before = numbers(x.len(), 5);

            let mut y: Vec<f64> =
                (0..dy.len()).map(|i| bias[i / g.out_space() % channels.1].into()).collect();
            let mut dx: Vec<f64> = before.iter().map(|&v| v.into()).collect();
            let mut dw = vec![0.0; w.len()];
            for (yi, xi, wi) in products(&g) {
                y[yi] += f64::from(x[xi]) * f64::from(w[wi]);
                dx[xi] += f64::from(dy[yi]) * f64::from(w[wi]);
                dw[wi] += f64::from(dy[yi]) * f64::from(x[xi]);
            }
            y.iter_mut().filter(|y| **y < 0.0).for_each(|y| *y *= 0.25);

            let finish = Output { bias: Some(&bias), negative_slope: 0.25, map: None };
            for (level, rounding) in
                Level::here().flat_map(|l| [(l, Rounding::Plain), (l, Rounding::Careful)])
            {
                let filters = Prepared::new(&g, &w, (rounding, level));
                let (ours, lengths) = forward(&g, &x, &filters, finish, &|n, y| (n, y.iter().sum::<f32>()));
                assert_near("output", &g, &ours, &y);
                let sums = ours.chunks(g.out_sample()).map(|y| y.iter().sum()).enumerate();
                assert!(sums.eq(lengths), "what was seen of {g:?}");
            }
            let map = (numbers(channels.1, 6), numbers(channels.1, 7));
            let finish = Output { map: Some((&map.0, &map.1)), ..finish };
            for (i, y) in y.iter_mut().enumerate() {
                let channel = i / g.out_space() % channels.1;
                *y = f64::from(map.0[channel]) * *y + f64::from(map.1[channel]);
            }
            for level in Level::here() {
                let filters = Prepared::new(&g, &w, (Rounding::Plain, level));
                let (ours, _) = forward(&g, &x, &filters, finish, &|_, _| ());
                assert_near("mapped output", &g, &ours, &y);
            }
            let fill = |sample: usize, to: &mut [f32]| {
                to.copy_from_slice(&dy[sample * to.len()..][..to.len()]);
                sample
            };
            for level in Level::here() {
                let check = |target: InputGradient<'_>| {
                    let (ours, samples) = gradients(&g, &x, &w, &fill, target, level);
                    assert_near("gradient of the filters", &g, &ours, &dw);
                    assert!(samples.into_iter().eq(0..BATCH), "samples of {g:?}");
                };
                check(InputGradient::Unused);
                for slope in [1.0, 0.25] {
                    let factors = || x.iter().map(|x| if *x > 0.0 { 1.0 } else { slope });
                    let dx: Vec<f64> = dx.iter().zip(factors()).map(|(dx, f)| dx * f64::from(f)).collect();
                    let mut ours = before.clone();
                    check(InputGradient::Added(&mut ours, slope));
                    assert_near("gradient of the input", &g, &ours, &dx);
                    let mut fresh = Vec::new();
                    check(InputGradient::Fresh(&mut fresh, slope));
                    let before = before.iter().zip(factors()).map(|(before, f)| before * f);
                    let fresh: Vec<f32> = fresh.iter().zip(before).map(|(dx, before)| dx + before).collect();
                    assert_near("fresh gradient of the input", &g, &fresh, &dx);
                }
            }
        }
    }
}
