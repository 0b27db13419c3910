//! The innermost loop of a product: a tile of sums that stays in registers, for each kind of vector instructions.
//!
//! With AVX2 a tile takes 7 loads for 12 vectors of products, and so can keep both units for products busy.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::elementwise::activate;

/// Rows of a tile. The networks' numbers of channels are multiples of it, down to those of a group.
pub const ROWS: usize = 4;

/// Columns of the widest tile: three vectors of sixteen values.
pub const COLUMNS: usize = 48;

/// The rows of b that a tile reads.
pub struct Source<'a> {
    /// Where all of them lie.
    pub values: &'a [f32],
    /// Where each begins.
    pub starts: &'a [usize],
    /// Where the tile copies what it reads of them, one row after the other, for the tiles that come after it.
    pub copies: Option<&'a mut [f32]>,
}

impl<'a> Source<'a> {
    /// Makes the copies before the tile is computed.
    fn copy(self, columns: usize) -> (&'a [f32], &'a [usize]) {
        let Source { values, starts, copies } = self;
        for (copy, start) in copies.unwrap_or_default().chunks_exact_mut(columns).zip(starts) {
            copy.copy_from_slice(&values[*start..][..columns]);
        }
        (values, starts)
    }
}

/// What becomes of the sums of a tile.
pub enum Places<'a> {
    /// They are written.
    Write(&'a mut [MaybeUninit<f32>]),
    /// They are added to what is there.
    Add(&'a mut [f32]),
    /// They are written after bias and activation.
    Activate {
        /// Where.
        places: &'a mut [MaybeUninit<f32>],
        /// One for each row.
        bias: &'a [f32; ROWS],
        /// The factor for negative values. Borrowed, because a place as long as those beside it is read without delay.
        negative_slope: &'a f32,
    },
}

impl Places<'_> {
    /// They take the place of numbers.
    pub fn over(numbers: &mut [f32]) -> Places<'_> {
        // SAFETY: nothing but numbers is written there.
        Places::Write(unsafe { &mut *(std::ptr::from_mut(numbers) as *mut [MaybeUninit<f32>]) })
    }
}

/// Where the sums of a tile go.
pub struct Target<'a> {
    /// All of them, with what lies between the rows.
    pub places: Places<'a>,
    /// From the beginning of a row to that of the next.
    pub step: usize,
}

/// The rows of a tile.
fn rows<P>(places: &mut [P], step: usize, columns: usize) -> impl Iterator<Item = &mut [P]> {
    assert!((ROWS - 1) * step + columns <= places.len(), "a tile fits");
    places.chunks_mut(step).map(move |row| &mut row[..columns])
}

/// A tile with vectors of the architecture, and how the sums of a block are added to those before.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    ($name:ident, $sum:ident, $add_all:ident, $keep:ident, $features:literal, $lanes:literal lanes of $vector:ident,
     $zero:ident, $load:ident, $splat:ident, $fma:ident, $add:ident, $activate:ident, $store:ident) => {
        /// Sums the products of the columns of a panel (columns, ROWS) with as many rows of b, `block` of them at a time.
        ///
        /// # Safety
        /// As many values as the tile has columns lie at every start.
        // Inlined, it would share its registers with the loop around it.
        #[inline(never)]
        #[target_feature(enable = $features)]
        pub unsafe fn $name<const VECTORS: usize>(
            panel: &[f32],
            b: Source<'_>,
            block: usize,
            to: Target<'_>,
        ) {
            let Source { values, starts, copies } = b;
            let totals = match copies {
                // SAFETY: as the caller promises.
                None => unsafe { $sum::<VECTORS, false>(panel, (values, starts), &mut [], block) },
                // SAFETY: as above.
                Some(copies) => unsafe { $sum::<VECTORS, true>(panel, (values, starts), copies, block) },
            };
            $keep(totals, to);
        }

        /// # Safety
        /// As above.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $sum<const VECTORS: usize, const COPIES: bool>(
            panel: &[f32],
            (b, starts): (&[f32], &[usize]),
            copies: &mut [f32],
            block: usize,
        ) -> [[$vector; VECTORS]; ROWS] {
            let mut copies = copies.chunks_exact_mut(VECTORS * $lanes);
            let mut totals = [[$zero(); VECTORS]; ROWS];
            for (panel, starts) in panel.chunks(ROWS * block).zip(starts.chunks(block)) {
                let mut sums = [[$zero(); VECTORS]; ROWS];
                for (factors, start) in panel.as_chunks::<ROWS>().0.iter().zip(starts) {
                    let row: [_; VECTORS] = std::array::from_fn(|v| {
                        // SAFETY: these values lie there, as the caller promises.
                        unsafe { $load(b.as_ptr().add(start + v * $lanes)) }
                    });
                    if COPIES && let Some(copy) = copies.next() {
                        for v in 0..VECTORS {
                            // SAFETY: the copy of a row is as long as a tile is wide.
                            unsafe { $store(copy.as_mut_ptr().add(v * $lanes), row[v]) };
                        }
                    }
                    for (sums, factor) in sums.iter_mut().zip(factors) {
                        let factor = $splat(*factor);
                        for v in 0..VECTORS {
                            sums[v] = $fma(factor, row[v], sums[v]);
                        }
                    }
                }
                $add_all(&mut totals, sums);
            }
            totals
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn $add_all<const VECTORS: usize>(
            totals: &mut [[$vector; VECTORS]; ROWS],
            sums: [[$vector; VECTORS]; ROWS],
        ) {
            for (totals, sums) in totals.iter_mut().zip(sums) {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = $add(*total, sum);
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn $keep<const VECTORS: usize>(totals: [[$vector; VECTORS]; ROWS], to: Target<'_>) {
            let Target { places, step } = to;
            let fits = |len: usize| assert!((ROWS - 1) * step + VECTORS * $lanes <= len, "a tile fits");
            match places {
                Places::Write(places) => {
                    fits(places.len());
                    let first = places.as_mut_ptr().cast::<f32>();
                    for (row, totals) in totals.into_iter().enumerate() {
                        for (vector, total) in totals.into_iter().enumerate() {
                            // SAFETY: the tile fits.
                            unsafe { $store(first.add(row * step + vector * $lanes), total) };
                        }
                    }
                }
                Places::Add(places) => {
                    fits(places.len());
                    let first = places.as_mut_ptr();
                    for (row, totals) in totals.into_iter().enumerate() {
                        for (vector, total) in totals.into_iter().enumerate() {
                            // SAFETY: as above.
                            unsafe {
                                let place = first.add(row * step + vector * $lanes);
                                $store(place, $add($load(place), total));
                            }
                        }
                    }
                }
                Places::Activate { places, bias, negative_slope } => {
                    fits(places.len());
                    let first = places.as_mut_ptr().cast::<f32>();
                    for (row, totals) in totals.into_iter().enumerate() {
                        for (vector, total) in totals.into_iter().enumerate() {
                            let sum = $add(total, $splat(bias[row]));
                            let activated = $activate(sum, $splat(*negative_slope));
                            // SAFETY: as above.
                            unsafe { $store(first.add(row * step + vector * $lanes), activated) };
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
tile!(
    avx512, sum_16, add_16, keep_16, "avx512f", 16 lanes of __m512, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps,
    _mm512_fmadd_ps, _mm512_add_ps, activate_16, _mm512_storeu_ps
);
#[cfg(target_arch = "x86_64")]
tile!(
    avx2_two, sum_8, add_8, keep_8, "avx2,fma", 8 lanes of __m256, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps,
    _mm256_fmadd_ps, _mm256_add_ps, activate_8, _mm256_storeu_ps
);

/// [`activate`], with infinities and NaN.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn activate_16(x: __m512, negative_slope: __m512) -> __m512 {
    let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
    _mm512_mask_mul_ps(x, !positive, x, negative_slope)
}

/// As above.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
fn activate_8(x: __m256, negative_slope: __m256) -> __m256 {
    let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps());
    _mm256_blendv_ps(_mm256_mul_ps(x, negative_slope), x, positive)
}

/// The same for a tile of three vectors. Its twelve sums, three vectors and one factor fill the sixteen registers just so;
/// the compiler would keep a sum in memory, which halves the speed.
///
/// # Safety
/// Twenty-four values lie at every start.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2_three(panel: &[f32], b: Source<'_>, block: usize, to: Target<'_>) {
    let (b, starts) = b.copy(24);
    let mut totals = [[_mm256_setzero_ps(); 3]; ROWS];
    for (panel, starts) in panel.chunks(ROWS * block).zip(starts.chunks(block)) {
        // SAFETY: as the caller promises.
        add_8(&mut totals, unsafe { avx2_three_in_one_go(panel, b, starts) });
    }
    keep_8(totals, to);
}

/// The sums of one block.
///
/// # Safety
/// Twenty-four values lie at every start.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_three_in_one_go(panel: &[f32], b: &[f32], starts: &[usize]) -> [[__m256; 3]; ROWS] {
    let mut sums = [[_mm256_setzero_ps(); 3]; ROWS];
    let [[a0, a1, a2], [b0, b1, b2], [c0, c1, c2], [d0, d1, d2]] = &mut sums;
    for (factors, start) in panel.as_chunks::<ROWS>().0.iter().zip(starts) {
        // SAFETY: 24 values lie at the start, as the caller promises, and four factors; nothing is written.
        unsafe {
            std::arch::asm!(
                "vmovups {x}, [{row}]",
                "vmovups {y}, [{row} + 32]",
                "vmovups {z}, [{row} + 64]",
                "vbroadcastss {f}, [{factors}]",
                "vfmadd231ps {a0}, {f}, {x}",
                "vfmadd231ps {a1}, {f}, {y}",
                "vfmadd231ps {a2}, {f}, {z}",
                "vbroadcastss {f}, [{factors} + 4]",
                "vfmadd231ps {b0}, {f}, {x}",
                "vfmadd231ps {b1}, {f}, {y}",
                "vfmadd231ps {b2}, {f}, {z}",
                "vbroadcastss {f}, [{factors} + 8]",
                "vfmadd231ps {c0}, {f}, {x}",
                "vfmadd231ps {c1}, {f}, {y}",
                "vfmadd231ps {c2}, {f}, {z}",
                "vbroadcastss {f}, [{factors} + 12]",
                "vfmadd231ps {d0}, {f}, {x}",
                "vfmadd231ps {d1}, {f}, {y}",
                "vfmadd231ps {d2}, {f}, {z}",
                row = in(reg) b.as_ptr().add(*start),
                factors = in(reg) factors.as_ptr(),
                a0 = inout(ymm_reg) *a0, a1 = inout(ymm_reg) *a1, a2 = inout(ymm_reg) *a2,
                b0 = inout(ymm_reg) *b0, b1 = inout(ymm_reg) *b1, b2 = inout(ymm_reg) *b2,
                c0 = inout(ymm_reg) *c0, c1 = inout(ymm_reg) *c1, c2 = inout(ymm_reg) *c2,
                d0 = inout(ymm_reg) *d0, d1 = inout(ymm_reg) *d1, d2 = inout(ymm_reg) *d2,
                x = out(ymm_reg) _, y = out(ymm_reg) _, z = out(ymm_reg) _, f = out(ymm_reg) _,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
    }
    sums
}

/// The same in plain loops, with vectors of four.
#[inline(always)]
pub fn plain<const VECTORS: usize>(panel: &[f32], b: Source<'_>, block: usize, to: Target<'_>) {
    let (b, starts) = b.copy(4 * VECTORS);
    let mut totals = [[[0.0f32; 4]; VECTORS]; ROWS];
    for (panel, starts) in panel.chunks(ROWS * block).zip(starts.chunks(block)) {
        let mut sums = [[[0.0f32; 4]; VECTORS]; ROWS];
        for (factors, start) in panel.as_chunks::<ROWS>().0.iter().zip(starts) {
            let row = b[*start..][..4 * VECTORS].as_chunks::<4>().0;
            for (sums, factor) in sums.iter_mut().zip(factors) {
                for (sums, row) in sums.iter_mut().zip(row) {
                    for l in 0..4 {
                        sums[l] = if cfg!(target_arch = "aarch64") {
                            factor.mul_add(row[l], sums[l])
                        } else {
                            factor * row[l] + sums[l]
                        };
                    }
                }
            }
        }
        let sums = sums.as_flattened().as_flattened();
        totals
            .as_flattened_mut()
            .as_flattened_mut()
            .iter_mut()
            .zip(sums)
            .for_each(|(total, sum)| *total += sum);
    }
    let Target { places, step } = to;
    let totals = totals.iter().map(|totals| totals.as_flattened());
    match places {
        Places::Write(places) => {
            for (row, totals) in rows(places, step, 4 * VECTORS).zip(totals) {
                row.write_copy_of_slice(totals);
            }
        }
        Places::Add(places) => {
            for (row, totals) in rows(places, step, 4 * VECTORS).zip(totals) {
                row.iter_mut().zip(totals).for_each(|(place, total)| *place += total);
            }
        }
        Places::Activate { places, bias, negative_slope } => {
            for ((row, totals), bias) in rows(places, step, 4 * VECTORS).zip(totals).zip(bias) {
                for (place, total) in row.iter_mut().zip(totals) {
                    place.write(activate(total + bias, *negative_slope));
                }
            }
        }
    }
}
