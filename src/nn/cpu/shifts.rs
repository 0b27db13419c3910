//! Copies of planes in which each tap of a convolution's filters reads one run of values: with zeros around them, and
//! with a stride S as S x S planes, one for each remainder of row and column.

use super::scratch;

/// How a kernel's taps find their inputs in copies of the planes.
pub struct Shifts {
    kernel: usize,
    stride: usize,
    /// Zeros (or, if negative, values left out) before the first value of a row and of a column.
    before: isize,
    /// Rows and columns of the planes read.
    pub from: (usize, usize),
    /// Rows and columns of the planes written.
    pub to: (usize, usize),
    /// Rows of a copy.
    rows: usize,
    /// Columns of a copy.
    pub columns: usize,
}

impl Shifts {
    /// For a kernel's taps, from planes of one size to planes of another.
    pub fn new(
        kernel: usize,
        stride: usize,
        before: isize,
        from: (usize, usize),
        to: (usize, usize),
    ) -> Shifts {
        let reach = (kernel - 1) / stride;
        Shifts { kernel, stride, before, from, to, rows: to.0 + reach, columns: to.1 + reach }
    }

    /// Remainders of rows, and of columns, that some tap reads.
    fn remainders(&self) -> usize {
        self.stride.min(self.kernel)
    }

    /// Whether filters have one tap in each channel, and so copies nothing but the values that are read.
    pub fn has_one_tap(&self) -> bool {
        self.kernel == 1 && self.rows * self.columns == self.to.0 * self.to.1
    }

    /// Values of the copies of one plane.
    pub fn plane(&self) -> usize {
        self.remainders() * self.remainders() * self.rows * self.columns
    }

    /// How long a run is: from the first output to the last.
    pub fn run(&self) -> usize {
        (self.to.0 - 1) * self.columns + self.to.1
    }

    /// Where each tap's run begins, for the taps of a filter in their order.
    pub fn starts(&self, inputs: usize) -> Vec<usize> {
        let Shifts { kernel, stride, rows, columns, .. } = *self;
        let tap = |i: usize, s: usize, t: usize| {
            let copy = s % stride * self.remainders() + t % stride;
            i * self.plane() + (copy * rows + s / stride) * columns + t / stride
        };
        let taps =
            (0..inputs).flat_map(|i| (0..kernel).flat_map(move |s| (0..kernel).map(move |t| (i, s, t))));
        taps.map(|(i, s, t)| tap(i, s, t)).collect()
    }

    /// Shows `work` the copies of all planes of some samples.
    pub fn with(&self, x: &[f32], work: impl FnOnce(&[f32])) {
        if (self.kernel, self.stride, self.before) == (1, 1, 0) {
            return work(x);
        }
        let planes = x.len() / (self.from.0 * self.from.1);
        scratch::with(planes * self.plane(), |copies| {
            let copy = copies.chunks_exact_mut(self.rows * self.columns);
            for (number, copy) in copy.enumerate() {
                let remainders = self.remainders() * self.remainders();
                let (plane, remainder) = (number / remainders, number % remainders);
                let size = self.from.0 * self.from.1;
                let remainder = (remainder / self.remainders(), remainder % self.remainders());
                self.copy(&x[plane * size..][..size], remainder, copy);
            }
            work(copies);
        });
    }

    /// Shows `work` the runs of all planes of some outputs, with zeros where a run goes on over the end of a row.
    pub fn with_runs(&self, y: &[f32], work: impl FnOnce(&[f32])) {
        let Shifts { to: (height, width), columns, .. } = *self;
        if columns == width {
            return work(y);
        }
        scratch::with(y.len() / (height * width) * self.run(), |runs| {
            for (run, y) in runs.chunks_exact_mut(self.run()).zip(y.chunks_exact(height * width)) {
                for (run, y) in run.chunks_mut(columns).zip(y.chunks_exact(width)) {
                    let (row, between) = run.split_at_mut(width);
                    row.copy_from_slice(y);
                    between.fill(0.0);
                }
            }
            work(runs);
        });
    }

    /// Copies what lies at one remainder of row and column.
    fn copy(&self, plane: &[f32], (row, column): (usize, usize), to: &mut [f32]) {
        // The source of a value at 0, and the values whose sources lie in the plane.
        let source = |remainder: usize| remainder as isize - self.before;
        let inside = |first: isize, size: usize, count: usize| {
            let place = |source: isize| (source.max(0) as usize).div_ceil(self.stride).min(count);
            place(-first)..place(size as isize - first)
        };
        let (first_row, first) = (source(row), source(column));
        let (height, width) = self.from;
        let (inside_rows, inside) =
            (inside(first_row, height, self.rows), inside(first, width, self.columns));
        for (r, to) in to.chunks_exact_mut(self.columns).enumerate() {
            if !inside_rows.contains(&r) || inside.is_empty() {
                to.fill(0.0);
                continue;
            }
            let from = &plane[(first_row + (r * self.stride) as isize) as usize * width..][..width];
            let from = &from[(first + (inside.start * self.stride) as isize) as usize..];
            to[..inside.start].fill(0.0);
            to[inside.end..].fill(0.0);
            let to = &mut to[inside.clone()];
            match self.stride {
                1 => to.copy_from_slice(&from[..to.len()]),
                2 => {
                    // All but perhaps the last value come in pairs of which the first counts.
                    let (pairs, last) = from.as_chunks::<2>();
                    let values = pairs.iter().map(|pair| pair[0]).chain(last.iter().copied());
                    to.iter_mut().zip(values).for_each(|(to, value)| *to = value);
                }
                stride => {
                    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, value)| *to = *value);
                }
            }
        }
    }
}
