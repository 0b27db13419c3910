//! Copies of planes in which each tap of a convolution's filters reads one run of values: with zeros or another value around them,
//! and with a stride S as S x S planes, one for each remainder of row and column.

use super::lanes::{LANES, Lanes, Loop, run_at};
use super::level::Level;
use super::scratch;

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
    /// One for each remainder of row and column.
    parts: Vec<Part>,
}

/// The values of a plane with one remainder of row and column.
struct Part {
    /// Where the first of them lies in the plane, and in the copy.
    first: (usize, usize),
    /// How many rows there are of them, and how many in a row.
    size: (usize, usize),
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
        let (rows, columns) = (to.0 + reach, to.1 + reach);
        // The first place whose source lies in the plane, that source, and how many such places there are.
        let inside = |remainder: usize, size: usize, places: usize| {
            let source = |place: usize| (remainder + place * stride) as isize - before;
            let mut inside = (0..places).filter(|&place| (0..size as isize).contains(&source(place)));
            let first = inside.next()?;
            Some((first, source(first) as usize, 1 + inside.count()))
        };
        let part = |row: usize, column: usize| {
            let (row, source_row, rows) = inside(row, from.0, rows)?;
            let (column, source_column, count) = inside(column, from.1, columns)?;
            let first = (source_row * from.1 + source_column, row * columns + column);
            Some(Part { first, size: (rows, count) })
        };
        let remainders = stride.min(kernel);
        let parts = (0..remainders).flat_map(|row| (0..remainders).map(move |column| (row, column)));
        let nothing = || Part { first: (0, 0), size: (0, 0) };
        let parts = parts.map(|(row, column)| part(row, column).unwrap_or_else(nothing)).collect();
        Shifts { kernel, stride, before, from, to, rows, columns, around: 0.0, parts }
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
            run_at(Level::in_use(), Copying { shifts: self, x, copies });
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
            run_at(Level::in_use(), CopyingRuns { shifts: self, y, runs });
            work(runs);
        });
    }
}

/// Copies each part of each plane.
struct Copying<'a> {
    shifts: &'a Shifts,
    x: &'a [f32],
    copies: &'a mut [f32],
}

impl Loop for Copying<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Shifts { stride, from: (height, width), rows, columns, around, ref parts, .. } = *self.shifts;
        let mut copies = self.copies.chunks_exact_mut(rows * columns);
        for plane in self.x.chunks_exact(height * width) {
            for (Part { first, size }, to) in parts.iter().zip(&mut copies) {
                // One call for all that lies around, between the rows as well.
                to.fill(around);
                for row in 0..size.0 {
                    let from = &plane[first.0 + row * stride * width..];
                    let to = &mut to[first.1 + row * columns..][..size.1];
                    match stride {
                        1 => copy_row(&from[..size.1], to),
                        2 => copy_every_other(from, to),
                        _ => copy_each(stride, from, to),
                    }
                }
            }
        }
    }
}

/// Copies the rows of each plane of an output to where they stand in its run.
struct CopyingRuns<'a> {
    shifts: &'a Shifts,
    y: &'a [f32],
    runs: &'a mut [f32],
}

impl Loop for CopyingRuns<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Shifts { to: (height, width), columns, .. } = *self.shifts;
        let runs = self.runs.chunks_exact_mut(self.shifts.run());
        for (run, y) in runs.zip(self.y.chunks_exact(height * width)) {
            for (run, y) in run.chunks_mut(columns).zip(y.chunks_exact(width)) {
                copy_row(y, &mut run[..width]);
            }
        }
    }
}

/// Copies a short row to another of its length without a call.
#[inline(always)]
pub fn copy_row(from: &[f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "a row and its copy");
    match to.len() {
        8.. => in_pieces::<8, 8>(from, to, |from| *from),
        4.. => in_pieces::<4, 4>(from, to, |from| *from),
        _ => copy_each(1, from, to),
    }
}

/// Copies every other of some values, from the first on, without a call.
#[inline(always)]
fn copy_every_other(from: &[f32], to: &mut [f32]) {
    match (from.get(..2 * to.len()), to.len()) {
        (Some(from), 8..) => in_pieces::<16, 8>(from, to, |from| std::array::from_fn(|i| from[2 * i])),
        (Some(from), 4..) => in_pieces::<8, 4>(from, to, |from| std::array::from_fn(|i| from[2 * i])),
        // A few, or the last of a plane, which nothing follows that could be left out.
        _ => copy_each(2, from, to),
    }
}

/// Copies values that lie `stride` apart, one by one.
#[inline(always)]
fn copy_each(stride: usize, from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
}

/// Makes values in pieces, of which the last may lie over the one before.
#[inline(always)]
fn in_pieces<const FROM: usize, const TO: usize>(
    from: &[f32],
    to: &mut [f32],
    make: impl Fn(&[f32; FROM]) -> [f32; TO],
) {
    for (to, from) in to.as_chunks_mut().0.iter_mut().zip(from.as_chunks().0) {
        *to = make(from);
    }
    if !to.len().is_multiple_of(TO)
        && let (Some(to), Some(from)) = (to.last_chunk_mut(), from.last_chunk())
    {
        *to = make(from);
    }
}
