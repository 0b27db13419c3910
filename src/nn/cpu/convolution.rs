//! Convolution as matrix products: each sample is unfolded into columns, one per output, and multiplied by the
//! filters. Samples go in parallel, and their parts of the filters' gradient are added in a fixed order.
//!
//! With x (batch, in, height, width), filters w (out, in / groups, K, K):
//! y[n, o, r, c] = act(b[o] + sum over i, s, t of w[o, i, s, t] x[n, i, r stride + s - padding, ..]).

use rayon::prelude::*;

use super::elementwise::{activate, add};
use super::matrix::{Matrix, add_product, multiply};
use super::scratch;

/// Into how many parts at most a batch is cut for the filters' gradient; a constant, because it fixes the order
/// of additions.
const PARTS: usize = 16;

/// The numbers of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Channels of the input and of the output.
    pub channels: (usize, usize),
    /// Into how many independent groups the channels fall.
    pub groups: usize,
    /// Rows and columns of a filter.
    pub kernel: usize,
    /// Steps between neighbouring outputs.
    pub stride: usize,
    /// Zeros beyond each edge.
    pub padding: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
}

impl Geometry {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Values of an output channel.
    fn out_space(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Values of one input sample.
    fn sample(&self) -> usize {
        self.channels.0 * self.height * self.width
    }

    /// Values of one output sample.
    fn out_sample(&self) -> usize {
        self.channels.1 * self.out_space()
    }

    /// Values of one filter.
    fn filter(&self) -> usize {
        self.channels.0 / self.groups * self.kernel * self.kernel
    }

    /// Output channels of a group.
    fn group_outputs(&self) -> usize {
        self.channels.1 / self.groups
    }

    /// Whether a group of input channels already is the matrix of its columns.
    fn is_unfolded(&self) -> bool {
        (self.kernel, self.stride, self.padding) == (1, 1, 0)
    }
}

/// The output for a batch x.
pub fn forward(
    g: &Geometry,
    x: &[f32],
    filters: &[f32],
    bias: Option<&[f32]>,
    negative_slope: f32,
) -> Vec<f32> {
    let space = g.out_space();
    let mut y = vec![0.0; x.len() / g.sample() * g.out_sample()];
    y.par_chunks_mut(g.out_sample()).zip(x.par_chunks(g.sample())).for_each(|(y, x)| {
        let groups = y.chunks_exact_mut(g.group_outputs() * space);
        for (group, y) in groups.enumerate() {
            with_columns(g, x, group, |columns| multiply(group_filters(g, filters, group), columns, y));
        }
        for (o, y) in y.chunks_exact_mut(space).enumerate() {
            let bias = bias.map_or(0.0, |bias| bias[o]);
            for y in y {
                *y = activate(*y + bias, negative_slope);
            }
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
            if g.is_unfolded() {
                add_product(filters, dy, dx);
            } else {
                scratch::with(g.filter() * space, |columns| {
                    multiply(filters, dy, columns);
                    fold(g, columns, dx);
                });
            }
        }
    });
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
    if g.is_unfolded() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::{Purpose, Stream};

    /// Kernel, stride, padding, groups, channels, height and width of small odd cases.
    const CASES: [(usize, usize, usize, usize, (usize, usize), usize, usize); 12] = [
        (1, 1, 0, 1, (3, 5), 4, 6),
        (1, 2, 0, 1, (4, 2), 5, 7),
        (1, 1, 1, 1, (2, 2), 3, 4),
        (2, 1, 2, 1, (3, 4), 5, 6),
        (2, 2, 0, 2, (4, 6), 6, 5),
        (3, 1, 2, 1, (2, 3), 7, 5),
        (3, 1, 1, 4, (8, 8), 9, 11),
        (3, 2, 1, 2, (4, 4), 7, 8),
        (4, 1, 2, 1, (3, 2), 9, 6),
        (5, 2, 3, 1, (3, 4), 9, 8),
        (6, 3, 5, 1, (2, 2), 2, 9),
        (7, 2, 3, 1, (3, 4), 3, 11),
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

    fn assert_near(what: &str, g: &Geometry, ours: &[f32], exact: &[f64]) {
        for (ours, exact) in ours.iter().zip(exact) {
            assert!((f64::from(*ours) - exact).abs() < 1e-4, "{what} of {g:?}: {ours}, not {exact}");
        }
    }

    #[test]
    fn output_and_gradients_agree_with_the_definition() {
        for (kernel, stride, padding, groups, channels, height, width) in CASES {
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

            assert_near("output", &g, &forward(&g, &x, &w, Some(&bias), 0.25), &y);
            assert_near("gradient of the filters", &g, &filter_gradient(&g, &x, &dy), &dw);
            let mut ours = before;
            add_input_gradient(&g, &dy, &w, &mut ours);
            assert_near("gradient of the input", &g, &ours, &dx);
        }
    }
}
