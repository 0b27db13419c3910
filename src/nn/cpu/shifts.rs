//! Copies of planes in which each tap of a convolution's filters reads one run of values: with zeros or another value around them,
//! and with a stride S as S x S planes, one for each remainder of row and column.

use super::lanes::{LANES, vectorize};
use super::scratch;

/// How many values of a row go together.
const PIECE: usize = 4;

/// How a kernel's taps find their inputs in copies of the planes.
pub struct Shifts {
    kernel: usize,
    stride: usize,
    /// Values around the planes (or, if negative, values left out) before the first value of a row and of a column.
    before: isize,
    /// Rows and columns of the planes read.
    pub from: (usize, usize),
    /// Rows and columns of the planes written.
    pub to: (usize, usize),
    /// Rows of a copy.
    rows: usize,
    /// Columns of a copy.
    pub columns: usize,
    /// What lies around the planes.
    around: f32,
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
        Shifts { kernel, stride, before, from, to, rows: to.0 + reach, columns: to.1 + reach, around: 0.0 }
    }

    /// The same with another value around the planes.
    pub fn surrounded_by(self, around: f32) -> Shifts {
        Shifts { around, ..self }
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

    /// How far it may be read: to the end of a vector, unless it goes over no ends of rows, so that all of it is output.
    pub fn whole_run(&self) -> usize {
        if self.columns == self.to.1 { self.run() } else { self.run().next_multiple_of(LANES) }
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

    /// Shows `work` the copies of all planes of some samples. Where a run may be read further than it goes, as many values
    /// as a vector has follow, whatever they are.
    pub fn with(&self, x: &[f32], work: impl FnOnce(&[f32])) {
        if (self.kernel, self.stride, self.before) == (1, 1, 0) {
            return work(x);
        }
        let size = self.from.0 * self.from.1;
        let planes = x.len() / size;
        scratch::with(planes * self.plane() + LANES, |copies| {
            let plane_copies = copies[..planes * self.plane()].chunks_exact_mut(self.plane());
            for (plane, copies) in x.chunks_exact(size).zip(plane_copies) {
                for (number, copy) in copies.chunks_exact_mut(self.rows * self.columns).enumerate() {
                    let remainder = (number / self.remainders(), number % self.remainders());
                    vectorize(|| self.copy(plane, remainder, copy));
                }
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
            runs.fill(0.0);
            vectorize(|| {
                for (run, y) in runs.chunks_exact_mut(self.run()).zip(y.chunks_exact(height * width)) {
                    for (run, y) in run.chunks_mut(columns).zip(y.chunks_exact(width)) {
                        copy_row(y, &mut run[..width]);
                    }
                }
            });
            work(runs);
        });
    }

    /// Copies what lies at one remainder of row and column.
    #[inline(always)]
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
        // One call for all that lies around, between the rows as well.
        to.fill(self.around);
        if inside.is_empty() {
            return;
        }
        for r in inside_rows {
            let from = &plane[(first_row + (r * self.stride) as isize) as usize * width..][..width];
            let from = &from[(first + (inside.start * self.stride) as isize) as usize..];
            let to = &mut to[r * self.columns..][inside.clone()];
            match self.stride {
                1 => copy_row(&from[..to.len()], to),
                2 => copy_every_other(from, to),
                stride => {
                    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, value)| *to = *value);
                }
            }
        }
    }
}

/// Copies a short row to another of its length without a call: in pieces, of which the last may lie over the one before.
#[inline(always)]
pub fn copy_row(from: &[f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "a row and its copy");
    for (to, from) in to.as_chunks_mut::<PIECE>().0.iter_mut().zip(from.as_chunks::<PIECE>().0) {
        *to = *from;
    }
    match (to.last_chunk_mut::<PIECE>(), from.last_chunk::<PIECE>()) {
        (Some(to), Some(from)) => *to = *from,
        _ => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

/// Copies every other value of a row, from the first on, a few at a time.
#[inline(always)]
fn copy_every_other(from: &[f32], to: &mut [f32]) {
    const SOURCE: usize = 2 * PIECE - 1;
    for (piece, to) in to.chunks_mut(PIECE).enumerate() {
        let from = &from[2 * PIECE * piece..];
        if to.len() == PIECE && from.len() >= SOURCE {
            for i in 0..PIECE {
                to[i] = from[2 * i];
            }
        } else {
            to.iter_mut().zip(from.iter().step_by(2)).for_each(|(to, from)| *to = *from);
        }
    }
}
