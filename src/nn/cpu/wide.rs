//! Sixteen numbers in the vectors of x86-64: one of 512 bits, or two of 256.
//!
//! Short rows become columns in two steps: row j of each group of four is loaded into quarter j of a vector (128 bits), and
//! then every 4 x 4 numbers change places within their quarters. The same exchange leads back.
//!
//! Loops instead of closures: these are compiled without the instructions of the function around them.
//!
//! The types are named by `lanes::run_at` alone, where the machine has the instructions: all `unsafe` here rests on that.

use std::arch::x86_64::*;
use std::ops::{Add, Mul, Sub};

use super::lanes::{LANES, Lanes, SHORT};

/// With AVX-512.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

/// With AVX2.
#[derive(Clone, Copy)]
pub struct Avx2([__m256; 2]);

/// Exchanges rows and columns of the 4 x 4 numbers in each quarter of four vectors.
macro_rules! exchange {
    ($rows:expr, $low:ident, $high:ident, $shuffle:ident) => {{
        let [a, b, c, d] = $rows;
        let (ab, cd) = ($low(a, b), $low(c, d));
        let (ab_high, cd_high) = ($high(a, b), $high(c, d));
        [
            $shuffle::<0b01_00_01_00>(ab, cd),
            $shuffle::<0b11_10_11_10>(ab, cd),
            $shuffle::<0b01_00_01_00>(ab_high, cd_high),
            $shuffle::<0b11_10_11_10>(ab_high, cd_high),
        ]
    }};
}

/// The short row at a place.
#[inline(always)]
fn row(values: &[f32], place: usize) -> __m128 {
    let row = &values[place..][..SHORT];
    // SAFETY: four numbers lie there.
    unsafe { _mm_loadu_ps(row.as_ptr()) }
}

/// Stores a short row.
#[inline(always)]
fn keep(row: __m128, to: &mut [f32; SHORT]) {
    // SAFETY: four numbers fit.
    unsafe { _mm_storeu_ps(to.as_mut_ptr(), row) };
}

impl Add for Avx512 {
    type Output = Avx512;

    #[inline(always)]
    fn add(self, other: Avx512) -> Avx512 {
        // SAFETY: the machine has the instructions.
        Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
    }
}

impl Sub for Avx512 {
    type Output = Avx512;

    #[inline(always)]
    fn sub(self, other: Avx512) -> Avx512 {
        // SAFETY: the machine has the instructions.
        Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
}

impl Mul<f32> for Avx512 {
    type Output = Avx512;

    #[inline(always)]
    fn mul(self, factor: f32) -> Avx512 {
        // SAFETY: the machine has the instructions.
        Avx512(unsafe { _mm512_mul_ps(self.0, _mm512_set1_ps(factor)) })
    }
}

impl Lanes for Avx512 {
    #[inline(always)]
    fn all(value: f32) -> Avx512 {
        // SAFETY: the machine has the instructions.
        Avx512(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Avx512 {
        // SAFETY: sixteen numbers lie there, and the machine has the instructions.
        Avx512(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: sixteen numbers fit, and the machine has the instructions.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) };
    }

    #[inline(always)]
    fn columns(values: &[f32], places: &[usize; LANES]) -> [Avx512; SHORT] {
        // SAFETY: the machine has the instructions.
        unsafe {
            let mut rows = [_mm512_setzero_ps(); SHORT];
            for j in 0..SHORT {
                rows[j] = _mm512_castps128_ps512(row(values, places[j]));
                rows[j] = _mm512_insertf32x4::<1>(rows[j], row(values, places[j + 4]));
                rows[j] = _mm512_insertf32x4::<2>(rows[j], row(values, places[j + 8]));
                rows[j] = _mm512_insertf32x4::<3>(rows[j], row(values, places[j + 12]));
            }
            let [a, b, c, d] = exchange!(rows, _mm512_unpacklo_ps, _mm512_unpackhi_ps, _mm512_shuffle_ps);
            [Avx512(a), Avx512(b), Avx512(c), Avx512(d)]
        }
    }

    #[inline(always)]
    fn rows(columns: [Avx512; SHORT]) -> [[f32; SHORT]; LANES] {
        let mut rows = [[0.0; SHORT]; LANES];
        // SAFETY: the machine has the instructions.
        unsafe {
            let [a, b, c, d] = columns;
            let groups =
                exchange!([a.0, b.0, c.0, d.0], _mm512_unpacklo_ps, _mm512_unpackhi_ps, _mm512_shuffle_ps);
            for j in 0..SHORT {
                keep(_mm512_castps512_ps128(groups[j]), &mut rows[j]);
                keep(_mm512_extractf32x4_ps::<1>(groups[j]), &mut rows[j + 4]);
                keep(_mm512_extractf32x4_ps::<2>(groups[j]), &mut rows[j + 8]);
                keep(_mm512_extractf32x4_ps::<3>(groups[j]), &mut rows[j + 12]);
            }
        }
        rows
    }
}

impl Add for Avx2 {
    type Output = Avx2;

    #[inline(always)]
    fn add(self, other: Avx2) -> Avx2 {
        // SAFETY: the machine has the instructions.
        Avx2(unsafe { [_mm256_add_ps(self.0[0], other.0[0]), _mm256_add_ps(self.0[1], other.0[1])] })
    }
}

impl Sub for Avx2 {
    type Output = Avx2;

    #[inline(always)]
    fn sub(self, other: Avx2) -> Avx2 {
        // SAFETY: the machine has the instructions.
        Avx2(unsafe { [_mm256_sub_ps(self.0[0], other.0[0]), _mm256_sub_ps(self.0[1], other.0[1])] })
    }
}

impl Mul<f32> for Avx2 {
    type Output = Avx2;

    #[inline(always)]
    fn mul(self, factor: f32) -> Avx2 {
        // SAFETY: the machine has the instructions.
        Avx2(unsafe {
            let factor = _mm256_set1_ps(factor);
            [_mm256_mul_ps(self.0[0], factor), _mm256_mul_ps(self.0[1], factor)]
        })
    }
}

impl Lanes for Avx2 {
    #[inline(always)]
    fn all(value: f32) -> Avx2 {
        // SAFETY: the machine has the instructions.
        Avx2(unsafe { [_mm256_set1_ps(value); 2] })
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Avx2 {
        // SAFETY: twice eight numbers lie there, and the machine has the instructions.
        Avx2(unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())] })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: twice eight numbers fit, and the machine has the instructions.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0[0]);
            _mm256_storeu_ps(to[8..].as_mut_ptr(), self.0[1]);
        }
    }

    #[inline(always)]
    fn columns(values: &[f32], places: &[usize; LANES]) -> [Avx2; SHORT] {
        // SAFETY: the machine has the instructions.
        unsafe {
            let mut columns = [[_mm256_setzero_ps(); 2]; SHORT];
            for half in 0..2 {
                let mut rows = [_mm256_setzero_ps(); SHORT];
                for j in 0..SHORT {
                    rows[j] = _mm256_castps128_ps256(row(values, places[8 * half + j]));
                    rows[j] = _mm256_insertf128_ps::<1>(rows[j], row(values, places[8 * half + j + 4]));
                }
                let rows = exchange!(rows, _mm256_unpacklo_ps, _mm256_unpackhi_ps, _mm256_shuffle_ps);
                for c in 0..SHORT {
                    columns[c][half] = rows[c];
                }
            }
            let [a, b, c, d] = columns;
            [Avx2(a), Avx2(b), Avx2(c), Avx2(d)]
        }
    }

    #[inline(always)]
    fn rows(columns: [Avx2; SHORT]) -> [[f32; SHORT]; LANES] {
        let mut rows = [[0.0; SHORT]; LANES];
        // SAFETY: the machine has the instructions.
        unsafe {
            for half in 0..2 {
                let [a, b, c, d] = columns;
                let columns = [a.0[half], b.0[half], c.0[half], d.0[half]];
                let groups = exchange!(columns, _mm256_unpacklo_ps, _mm256_unpackhi_ps, _mm256_shuffle_ps);
                for j in 0..SHORT {
                    keep(_mm256_castps256_ps128(groups[j]), &mut rows[8 * half + j]);
                    keep(_mm256_extractf128_ps::<1>(groups[j]), &mut rows[8 * half + j + 4]);
                }
            }
        }
        rows
    }
}
