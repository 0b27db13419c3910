//! The gradient of the input of a convolution with a stride as a matrix product: the gradients of the columns of inputs
//! that belong to each output, which are then folded back into the input. Samples go in parallel.

use rayon::prelude::*;

use super::finish::Stored;
use super::geometry::Geometry;
use super::level::Level;
use super::matrix::Matrix;
use super::product::{Packed, Rounding, Rows, multiply};
use super::scratch;

/// What adds the gradient of the input of some samples, from that of their output.
pub fn input_gradient(g: &Geometry, filters: &[f32], level: Level) -> impl Fn(&[f32], &mut [f32]) + Sync {
    let (space, outputs) = (g.out_space(), g.group_outputs());
    let packed: Vec<Packed> = filters
        .chunks_exact(outputs * g.filter())
        .map(|filters| Packed::new(Matrix::new(filters, outputs, g.filter()).transposed(), level))
        .collect();
    let starts: Vec<usize> = (0..outputs).map(|o| o * space).collect();
    move |dy, dx| {
        let samples = dx.par_chunks_mut(g.sample()).zip(dy.par_chunks(g.out_sample()));
        samples.with_max_len(1).for_each(|(dx, dy)| {
            let groups = dy.chunks_exact(outputs * space).zip(dx.chunks_exact_mut(g.sample() / g.groups));
            for ((dy, dx), filters) in groups.zip(&packed) {
                scratch::with(g.filter() * space, |columns| {
                    let dy = Rows { values: dy, starts: &starts, width: space };
                    multiply(filters, dy, Rounding::Plain, columns, space, (0, &Stored));
                    fold(g, columns, dx);
                });
            }
        });
    }
}

/// Adds each column's values to the inputs they were copied from.
fn fold(g: &Geometry, columns: &[f32], dx: &mut [f32]) {
    let width = g.out_width();
    for (tap, row) in taps(g).zip(columns.chunks_exact(g.out_space())) {
        let plane = &mut dx[tap.channel * g.height * g.width..][..g.height * g.width];
        let inside = tap.inside(g, width);
        if inside.is_empty() {
            continue;
        }
        for (out_row, row) in row.chunks_exact(width).enumerate() {
            let Some(target) = tap.source_row(g, out_row) else { continue };
            let target = &mut plane[target * g.width..][..g.width];
            let first = inside.start * g.stride + tap.column - g.padding;
            for (target, value) in target[first..].iter_mut().step_by(g.stride).zip(&row[inside.clone()]) {
                *target += value;
            }
        }
    }
}

/// One value of a filter, in a group's own channels.
#[derive(Clone, Copy)]
struct Tap {
    channel: usize,
    row: usize,
    column: usize,
}

/// The values of a filter, in their order.
fn taps(g: &Geometry) -> impl Iterator<Item = Tap> {
    let kernel = g.kernel;
    (0..g.filter()).map(move |i| Tap {
        channel: i / (kernel * kernel),
        row: i / kernel % kernel,
        column: i % kernel,
    })
}

impl Tap {
    /// The input row under this tap at an output row, if there is one.
    fn source_row(self, g: &Geometry, out_row: usize) -> Option<usize> {
        (out_row * g.stride + self.row).checked_sub(g.padding).filter(|&row| row < g.height)
    }

    /// The output columns whose input under this tap lies within the image.
    fn inside(self, g: &Geometry, out_width: usize) -> std::ops::Range<usize> {
        let start = g.padding.saturating_sub(self.column).div_ceil(g.stride);
        let end = (g.width + g.padding).saturating_sub(self.column).div_ceil(g.stride);
        let end = end.min(out_width);
        start.min(end)..end
    }
}
