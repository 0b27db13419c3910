//! Convolution as matrix products: each sample is unfolded into columns, one per output, and multiplied by the
//! filters. Samples go in parallel, and their parts of the filters' gradient are added in a fixed order.

use rayon::prelude::*;

use super::elementwise::add;
use super::finish::{Finish, Output};
use super::geometry::Geometry;
use super::lanes::vectorize;
use super::matrix::{Matrix, Rounding, add_product, multiply};
use super::scratch;

/// Into how many parts at most a batch is cut for the filters' gradient; a constant, because it fixes the order
/// of additions.
const PARTS: usize = 16;

/// The output for a batch x.
pub fn forward(g: &Geometry, x: &[f32], filters: &[f32], finish: Output, rounding: Rounding) -> Vec<f32> {
    let space = g.out_space();
    let mut y = vec![0.0; x.len() / g.sample() * g.out_sample()];
    y.par_chunks_mut(g.out_sample()).zip(x.par_chunks(g.sample())).for_each(|(y, x)| {
        let groups = y.chunks_exact_mut(g.group_outputs() * space);
        for (group, y) in groups.enumerate() {
            let filters = group_filters(g, filters, group);
            with_columns(g, x, group, |columns| multiply(filters, columns, y, space, rounding));
        }
        for (o, y) in y.chunks_exact_mut(space).enumerate() {
            let store = finish.of(o);
            vectorize(move || {
                for y in y {
                    let value = *y;
                    store(y, value);
                }
            });
        }
    });
    y
}

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
pub fn add_input_gradient(g: &Geometry, dy: &[f32], filters: &[f32], dx: &mut [f32]) {
    let space = g.out_space();
    dx.par_chunks_mut(g.sample()).zip(dy.par_chunks(g.out_sample())).for_each(|(dx, dy)| {
        let groups = dy.chunks_exact(g.group_outputs() * space);
        for (group, (dy, dx)) in groups.zip(dx.chunks_exact_mut(g.sample() / g.groups)).enumerate() {
            let filters = group_filters(g, filters, group).transposed();
            let dy = Matrix::new(dy, g.group_outputs(), space);
            if is_unfolded(g) {
                add_product(filters, dy, dx);
            } else {
                scratch::with(g.filter() * space, |columns| {
                    multiply(filters, dy, columns, space, Rounding::Plain);
                    fold(g, columns, dx);
                });
            }
        }
    });
}

/// Whether a group of input channels already is the matrix of its columns.
fn is_unfolded(g: &Geometry) -> bool {
    (g.kernel, g.stride, g.padding) == (1, 1, 0)
}

/// The filters of one group, one per row.
fn group_filters<'a>(g: &Geometry, filters: &'a [f32], group: usize) -> Matrix<'a> {
    let size = g.group_outputs() * g.filter();
    Matrix::new(&filters[group * size..][..size], g.group_outputs(), g.filter())
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
