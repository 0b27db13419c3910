//! Sums of many numbers, in f64: of values, and of products with others. Eight lanes are added in a fixed order, so that
//! every kind of instructions gives the same bits.

/// The sum of g, and that of g x.
pub fn sums(g: &[f32], x: &[f32]) -> [f64; 2] {
    assert_eq!(g.len(), x.len(), "as many of both");
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the machine has just been seen to have what the function needs.
        return unsafe { with_avx2::<false>(g, x) };
    }
    plain(g, x)
}

/// The sum of x, and that of its squares.
pub fn powers(x: &[f32]) -> [f64; 2] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: as above.
        return unsafe { with_avx2::<true>(x, x) };
    }
    plain(x, x)
}

/// The sum.
pub fn sum(x: &[f32]) -> f64 {
    powers(x)[0]
}

fn plain(g: &[f32], x: &[f32]) -> [f64; 2] {
    let mut lanes = [[0.0; 8]; 2];
    let (g, g_rest) = g.as_chunks::<8>();
    let (x, x_rest) = x.as_chunks::<8>();
    for (g, x) in g.iter().zip(x) {
        add(&mut lanes, g, x);
    }
    add(&mut lanes, g_rest, x_rest);
    lanes.map(|lanes| lanes.iter().sum())
}

fn add([sums, products]: &mut [[f64; 8]; 2], g: &[f32], x: &[f32]) {
    for (l, (&g, &x)) in g.iter().zip(x).enumerate() {
        sums[l] += f64::from(g);
        products[l] += f64::from(g) * f64::from(x);
    }
}

// Written out, because compilers take the numbers one by one where they are widened. A product of two f32 is exact in f64, so it
// may be added in the same step. `SAME` says that x is g, so that it need not be widened again.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<const SAME: bool>(g: &[f32], x: &[f32]) -> [f64; 2] {
    use std::arch::x86_64::*;
    let mut sums = [[_mm256_setzero_pd(); 2]; 2];
    let (g, g_rest) = g.as_chunks::<4>();
    let (x, x_rest) = x.as_chunks::<4>();
    let pairs = |g: &[[f32; 4]], x: &[[f32; 4]], sums: &mut [[__m256d; 2]; 2]| {
        for (half, (g, x)) in g.iter().zip(x).enumerate() {
            // SAFETY: four values lie there.
            let wide = |values: &[f32; 4]| _mm256_cvtps_pd(unsafe { _mm_loadu_ps(values.as_ptr()) });
            let g = wide(g);
            let x = if SAME { g } else { wide(x) };
            sums[0][half] = _mm256_add_pd(sums[0][half], g);
            sums[1][half] = _mm256_fmadd_pd(g, x, sums[1][half]);
        }
    };
    let (g, g_odd) = g.as_chunks::<2>();
    let (x, x_odd) = x.as_chunks::<2>();
    for (g, x) in g.iter().zip(x) {
        pairs(g, x, &mut sums);
    }
    pairs(g_odd, x_odd, &mut sums);
    let mut lanes = [[0.0; 8]; 2];
    for (lanes, sums) in lanes.iter_mut().zip(sums) {
        for (lanes, sum) in lanes.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            // SAFETY: four values fit.
            unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), sum) };
        }
    }
    let first = g_odd.len() * 4;
    for (l, (&g, &x)) in g_rest.iter().zip(x_rest).enumerate() {
        lanes[0][first + l] += f64::from(g);
        lanes[1][first + l] += f64::from(g) * f64::from(x);
    }
    lanes.map(|lanes| lanes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_instructions_give_the_sums_bit_for_bit() {
        for count in 0..50u16 {
            let g: Vec<f32> = (0..count).map(|i| 0.1 + f32::from(i) * 0.3).collect();
            let x: Vec<f32> = (0..count).map(|i| 5.0 - f32::from(i) * 0.7).collect();
            let [sum, product] = sums(&g, &x);
            assert_eq!([sum, product], plain(&g, &x), "{count}");
            assert_eq!(powers(&x), plain(&x, &x), "{count}");
            let exact: f64 = g.iter().zip(&x).map(|(g, x)| f64::from(*g) * f64::from(*x)).sum();
            assert!(
                (product - exact).abs() < 1e-9
                    && (sum - g.iter().map(|g| f64::from(*g)).sum::<f64>()).abs() < 1e-9
            );
        }
    }
}
