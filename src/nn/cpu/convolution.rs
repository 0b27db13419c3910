//! Convolution, by whichever way suits its sizes. The choice depends on nothing else, so that results repeat.
//!
//! With x (batch, in, height, width), filters w (out, in / groups, K, K):
//! y[n, o, r, c] = act(b[o] + sum over i, s, t of w[o, i, s, t] x[n, i, r stride + s - padding, ..]).

use std::mem::MaybeUninit;

use super::finish::{Added, Fresh, Output};
use super::fresh::filled;
use super::geometry::Geometry;
use super::level::Level;
use super::product::Rounding;
use super::{shifted, unfolded, winograd};

/// What is done with each sample of an output, by its number, while it is still in the cache. Dynamic, since every
/// network's every layer has its own, and none is worth its own copy of the loops.
pub type Then<'a, T> = &'a (dyn Fn(usize, &mut [f32]) -> T + Sync);

/// The output for a batch x, and what was made of each sample of it.
pub fn forward<T: Send>(
    g: &Geometry,
    x: &[f32],
    filters: &[f32],
    finish: Output,
    how: (Rounding, Level),
    then: Then<'_, T>,
) -> (Vec<f32>, Vec<T>) {
    let mut results = Vec::new();
    // SAFETY: a pass stores every value of the output; so it has those of a sample before the sample is shown.
    let y = unsafe {
        filled(x.len() / g.sample() * g.out_sample(), |y| {
            let then = |sample: usize, y: &mut [MaybeUninit<f32>]| then(sample, y.assume_init_mut());
            results = match winograd::Tiling::of(g) {
                Some(tiling) => tiling.forward(g, (x, y), filters, finish, how, then),
                None => shifted::forward(g, (x, y), filters, finish, how, then),
            };
        })
    };
    (y, results)
}

/// The gradient of the filters.
pub fn filter_gradient(g: &Geometry, x: &[f32], dy: &[f32], level: Level) -> Vec<f32> {
    match winograd::Tiling::of(g) {
        Some(tiling) => tiling.filter_gradient(g, x, dy, level),
        None => shifted::filter_gradient(g, x, dy, level),
    }
}

/// The gradient of the input.
pub fn input_gradient(g: &Geometry, dy: &[f32], filters: &[f32], level: Level) -> Vec<f32> {
    let len = dy.len() / g.out_sample() * g.sample();
    match winograd::Tiling::of(g) {
        // SAFETY: the tiles of a pass cover the input.
        Some(tiling) => unsafe {
            filled(len, |dx| tiling.input_gradient(g, dy, filters, (dx, Fresh), level))
        },
        // SAFETY: a pass stores every value.
        None if g.stride == 1 => unsafe {
            filled(len, |dx| shifted::input_gradient(g, dy, filters, (dx, Fresh), level))
        },
        None => {
            let mut dx = vec![0.0; len];
            unfolded::add_input_gradient(g, dy, filters, &mut dx, level);
            dx
        }
    }
}

/// dx += the gradient of the input.
pub fn add_input_gradient(g: &Geometry, dy: &[f32], filters: &[f32], dx: &mut [f32], level: Level) {
    match winograd::Tiling::of(g) {
        Some(tiling) => tiling.input_gradient(g, dy, filters, (dx, Added), level),
        None if g.stride == 1 => shifted::input_gradient(g, dy, filters, (dx, Added), level),
        None => unfolded::add_input_gradient(g, dy, filters, dx, level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::{Purpose, Stream};

    /// Kernel, stride, padding, groups, input and output channels, height and width of small odd cases.
    const CASES: [[usize; 8]; 16] = [
        [1, 1, 0, 1, 3, 5, 4, 6],
        [1, 2, 0, 1, 4, 2, 5, 7],
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
                let (ours, lengths) =
                    forward(&g, &x, &w, finish, (rounding, level), &|n, y| (n, y.iter().sum::<f32>()));
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
                let (ours, _) = forward(&g, &x, &w, finish, (Rounding::Plain, level), &|_, _| ());
                assert_near("mapped output", &g, &ours, &y);
            }
            for level in Level::here() {
                assert_near("gradient of the filters", &g, &filter_gradient(&g, &x, &dy, level), &dw);
                let mut ours = before.clone();
                add_input_gradient(&g, &dy, &w, &mut ours, level);
                assert_near("gradient of the input", &g, &ours, &dx);
                let fresh = input_gradient(&g, &dy, &w, level);
                let fresh: Vec<f32> = fresh.iter().zip(&before).map(|(dx, before)| dx + before).collect();
                assert_near("fresh gradient of the input", &g, &fresh, &dx);
            }
        }
    }
}
