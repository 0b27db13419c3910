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

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The values of a row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = f32> {
        self.values[row * self.row_step..].iter().step_by(self.column_step).take(self.columns).copied()
    }

    /// The same values with rows and columns exchanged.
    pub fn transposed(self) -> Matrix<'a> {
        let Matrix { values, rows, columns, row_step, column_step } = self;
        Matrix { values, rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }
}

/// out = a b, row-major.
pub fn multiply(a: Matrix, b: Matrix, out: &mut [f32]) {
    product(a, b, out, Keep::Nothing);
}

/// out += a b, row-major.
pub fn add_product(a: Matrix, b: Matrix, out: &mut [f32]) {
    product(a, b, out, Keep::Sum);
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

fn product(a: Matrix, b: Matrix, out: &mut [f32], keep: Keep) {
    assert_eq!(a.columns, b.rows, "inner dimensions");
    assert_eq!(out.len(), a.rows * b.columns, "outer dimensions");
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
            step(b.columns),
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

    const A: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    const B: [f32; 6] = [1.0, 0.0, -1.0, 2.0, 0.5, 3.0];

    #[test]
    fn products_agree_with_their_definition() {
        let mut out = [0.0; 4];
        multiply(Matrix::new(&A, 2, 3), Matrix::new(&B, 3, 2), &mut out);
        assert_eq!(out, [0.5, 13.0, 2.0, 28.0]);
        add_product(Matrix::new(&A, 2, 3), Matrix::new(&B, 3, 2), &mut out);
        assert_eq!(out, [1.0, 26.0, 4.0, 56.0]);
        let transposed = Matrix::new(&A, 3, 2).transposed();
        multiply(transposed, Matrix::new(&B, 3, 2), &mut out);
        assert_eq!(out, [0.5, 21.0, 1.0, 26.0]);
    }

    #[test]
    fn a_spaced_factor_skips_what_lies_between_its_rows() {
        let mut out = [0.0; 4];
        multiply(Matrix::spaced(&A, 2, 2, 4), Matrix::new(&B[..4], 2, 2), &mut out);
        assert_eq!(out, [-1.0, 4.0, -1.0, 12.0]);
    }

    #[test]
    #[should_panic(expected = "outer dimensions")]
    fn a_product_that_does_not_fit_is_refused() {
        multiply(Matrix::new(&A, 2, 3), Matrix::new(&B, 3, 2), &mut [0.0; 3]);
    }
}
