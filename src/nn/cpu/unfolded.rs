//! Gradients of a convolution as matrix products: the inputs of a sample unfolded into columns, one for each output.
//! Samples go in parallel, and their parts of the filters' gradient are added in a fixed order.

use rayon::prelude::*;

use super::elementwise::add;
use super::finish::Stored;
use super::geometry::Geometry;
use super::level::Level;
use super::matrix::{Matrix, add_product};
use super::product::{Packed, Rounding, Rows, multiply};
use super::scratch;

/// Into how many parts at most a batch is cut for the filters' gradient; a constant, because it fixes the order
/// of additions.
const PARTS: usize = 16;

/// The gradient of the filters.
pub fn filter_gradient(g: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let space = g.out_space();
    let batch = x.len() / g.sample();
    let per_part = batch.div_ceil(PARTS);
    let parts: Vec<Vec<f32>> = x
        .par_chunks(per_part * g.sample())
        .zip(dy.par_chunks(per_part * g.out_sample()))
        .map(|(x, dy)| {
            let mut dw = vec![0.0; g.channels.1 * g.filter()];
            for (x, dy) in x.chunks_exact(g.sample()).zip(dy.chunks_exact(g.out_sample())) {
                let groups = dw.chunks_exact_mut(g.group_outputs() * g.filter());
                for (group, (dw, dy)) in groups.zip(dy.chunks_exact(g.group_outputs() * space)).enumerate() {
                    let dy = Matrix::new(dy, g.group_outputs(), space);
                    with_columns(g, x, group, |columns| add_product(dy, columns.transposed(), dw));
                }
            }
            dw
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut total = parts.next().expect("a batch has a sample");
    parts.for_each(|part| add(&mut total, &part));
    total
}

/// dx += the gradient of the input.
pub fn add_input_gradient(g: &Geometry, dy: &[f32], filters: &[f32], dx: &mut [f32], level: Level) {
    let (space, outputs) = (g.out_space(), g.group_outputs());
    let packed: Vec<Packed> = filters
        .chunks_exact(outputs * g.filter())
        .map(|filters| Packed::new(Matrix::new(filters, outputs, g.filter()).transposed(), level))
        .collect();
    let starts: Vec<usize> = (0..outputs).map(|o| o * space).collect();
    dx.par_chunks_mut(g.sample()).zip(dy.par_chunks(g.out_sample())).for_each(|(dx, dy)| {
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

/// Whether a group of input channels already is the matrix of its columns.
fn is_unfolded(g: &Geometry) -> bool {
    (g.kernel, g.stride, g.padding) == (1, 1, 0)
}

/// Shows `work` the columns (values of a filter, outputs) of one group of a sample.
fn with_columns<R>(g: &Geometry, x: &[f32], group: usize, work: impl FnOnce(Matrix) -> R) -> R {
    let size = g.sample() / g.groups;
    let x = &x[group * size..][..size];
    let (rows, space) = (g.filter(), g.out_space());
    if is_unfolded(g) {
        return work(Matrix::new(x, rows, space));
    }
    scratch::with(rows * space, |columns| {
        unfold(g, x, columns);
        work(Matrix::new(columns, rows, space))
    })
}

/// Copies the inputs of each output into a column; zero beyond the edges.
fn unfold(g: &Geometry, x: &[f32], columns: &mut [f32]) {
    let width = g.out_width();
    for (tap, row) in taps(g).zip(columns.chunks_exact_mut(g.out_space())) {
        let plane = &x[tap.channel * g.height * g.width..][..g.height * g.width];
        let inside = tap.inside(g, width);
        for (out_row, row) in row.chunks_exact_mut(width).enumerate() {
            let source = tap.source_row(g, out_row).filter(|_| !inside.is_empty());
            let Some(source) = source else {
                row.fill(0.0);
                continue;
            };
            let source = &plane[source * g.width..][..g.width];
            row[..inside.start].fill(0.0);
            row[inside.end..].fill(0.0);
            let first = inside.start * g.stride + tap.column - g.padding;
            let row = &mut row[inside.clone()];
            if g.stride == 1 {
                row.copy_from_slice(&source[first..][..row.len()]);
            } else {
                for (value, &source) in row.iter_mut().zip(source[first..].iter().step_by(g.stride)) {
                    *value = source;
                }
            }
        }
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
