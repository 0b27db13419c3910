//! Products of matrices in slices: a safe face of the gemm crate, on the calling thread alone.

/// A matrix in a slice, row-major or transposed.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows, one after the other.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Matrix<'a> {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} x {columns}");
        Matrix { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// `rows` rows that begin `row_step` values apart.
    pub fn spaced(values: &'a [f32], rows: usize, columns: usize, row_step: usize) -> Matrix<'a> {
        assert!(fits(values.len(), rows, columns, row_step), "a spaced matrix of {rows} x {columns}");
        Matrix { values, rows, columns, row_step, column_step: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub fn transposed(self) -> Matrix<'a> {
        let Matrix { values, rows, columns, row_step, column_step } = self;
        Matrix { values, rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }
}

/// How many products are summed at a time where rounding matters; about the root of the longest sums.
const BLOCK: usize = 24;

/// How much rounding a product may show.
///
/// In training, ReLU and max pooling ask on which side of a kink a value lies, and one other answer changes
/// every gradient before it by about a thousandth. In evaluation nothing asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Each sum in one go.
    Plain,
    /// Each sum in short parts, so that its error grows far less with its length.
    Careful,
}

/// out = a b, with rows of `out` that begin `row_step` values apart.
pub fn multiply(a: Matrix, b: Matrix, out: &mut [f32], row_step: usize, rounding: Rounding) {
    let block = match rounding {
        Rounding::Plain => a.columns,
        Rounding::Careful => BLOCK,
    };
    for first in (0..a.columns).step_by(block) {
        let count = block.min(a.columns - first);
        let a = Matrix { values: &a.values[first * a.column_step..], columns: count, ..a };
        let b = Matrix { values: &b.values[first * b.row_step..], rows: count, ..b };
        product(a, b, out, row_step, if first == 0 { Keep::Nothing } else { Keep::Sum });
    }
}

/// out += a b, row-major.
pub fn add_product(a: Matrix, b: Matrix, out: &mut [f32]) {
    product(a, b, out, b.columns, Keep::Sum);
}

/// What becomes of the values that were there.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Nothing,
    Sum,
}

/// Whether a slice holds rows of this length that begin `row_step` values apart and do not overlap.
fn fits(len: usize, rows: usize, columns: usize, row_step: usize) -> bool {
    rows > 0 && columns <= row_step && (rows - 1) * row_step + columns <= len
}

fn product(a: Matrix, b: Matrix, out: &mut [f32], row_step: usize, keep: Keep) {
    assert_eq!(a.columns, b.rows, "inner dimensions");
    assert!(fits(out.len(), a.rows, b.columns, row_step), "outer dimensions");
    let step = |n: usize| n as isize;
    // SAFETY: `a` and `b` were built with as many values as their dimensions say, `out` was checked above, and
    // `out` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            step(row_step),
            keep == Keep::Sum,
            a.values.as_ptr(),
            step(a.column_step),
            step(a.row_step),
            b.values.as_ptr(),
            step(b.column_step),
            step(b.row_step),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::{Purpose, Stream};

    const A: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    const B: [f32; 6] = [1.0, 0.0, -1.0, 2.0, 0.5, 3.0];

    #[test]
    fn products_agree_with_their_definition() {
        let mut out = [0.0; 4];
        multiply(Matrix::new(&A, 2, 3), Matrix::new(&B, 3, 2), &mut out, 2, Rounding::Plain);
        assert_eq!(out, [0.5, 13.0, 2.0, 28.0]);
        add_product(Matrix::new(&A, 2, 3), Matrix::new(&B, 3, 2), &mut out);
        assert_eq!(out, [1.0, 26.0, 4.0, 56.0]);
        let transposed = Matrix::new(&A, 3, 2).transposed();
        multiply(transposed, Matrix::new(&B, 3, 2), &mut out, 2, Rounding::Plain);
        assert_eq!(out, [0.5, 21.0, 1.0, 26.0]);
    }

    #[test]
    fn careful_sums_are_nearer_to_the_exact_ones() {
        const ROWS: usize = 64;
        let depth = 20 * BLOCK + 7;
        let mut stream = Stream::new(1, Purpose::Init, 0, 0);
        let a: Vec<f32> = (0..ROWS * depth).map(|_| stream.normal() as f32).collect();
        let b: Vec<f32> = (0..depth).map(|_| stream.normal() as f32).collect();
        let exact = a
            .chunks_exact(depth)
            .map(|row| -> f64 { row.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() });
        let [plain, careful] = [Rounding::Plain, Rounding::Careful].map(|rounding| {
            let mut out = [0.0; ROWS];
            multiply(Matrix::new(&a, ROWS, depth), Matrix::new(&b, depth, 1), &mut out, 1, rounding);
            let squares = out.iter().zip(exact.clone()).map(|(&out, exact)| (f64::from(out) - exact).powi(2));
            (squares.sum::<f64>() / ROWS as f64).sqrt()
        });
        assert!(careful < 0.7 * plain && plain < 1e-4, "{plain:e}, {careful:e}");
    }

    #[test]
    fn spaced_rows_leave_what_lies_between_them() {
        let mut out = [9.0; 5];
        multiply(Matrix::spaced(&A, 2, 2, 4), Matrix::new(&B[..4], 2, 2), &mut out, 3, Rounding::Plain);
        assert_eq!(out, [-1.0, 4.0, 9.0, -1.0, 12.0]);
    }

    #[test]
    #[should_panic(expected = "outer dimensions")]
    fn a_product_that_does_not_fit_is_refused() {
        multiply(Matrix::new(&A, 2, 3), Matrix::new(&B, 3, 2), &mut [0.0; 3], 2, Rounding::Plain);
    }
}
