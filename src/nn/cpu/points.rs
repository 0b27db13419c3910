//! The three small matrices of Winograd's method as sums written out, sixteen tiles at a time: polynomials and
//! their values at the points 0, 1, -1, 2, -2 and infinity. Everything is inlined into the loops that use it.

use super::lanes::Lanes;

/// Rows and columns of the inputs under a tile, and the number of points along one axis.
pub const SIDE: usize = 6;

/// Values of a transformed tile.
pub const POINTS: usize = SIDE * SIDE;

/// A linear map of `N` values to `P`.
pub trait Along<const N: usize, const P: usize> {
    /// The map.
    fn along(values: [Lanes; N]) -> [Lanes; P];
}

/// B': what a window of inputs is worth at each point.
pub struct Windows;

/// G: the polynomial with these coefficients at each point, over the product of the distances to the others.
pub struct Evaluate;

/// A': the coefficients of the polynomial with these values at the points.
pub struct Interpolate;

/// Applies a map to the rows and then to the columns of a tile.
#[inline(always)]
pub fn both<M: Along<N, P>, const N: usize, const P: usize>(tile: &[[Lanes; N]; N]) -> [[Lanes; P]; P] {
    let mut rows = [[Lanes::ZERO; P]; N];
    for n in 0..N {
        rows[n] = M::along(tile[n]);
    }
    let mut result = [[Lanes::ZERO; P]; P];
    for p in 0..P {
        let mut column = [Lanes::ZERO; N];
        for n in 0..N {
            column[n] = rows[n][p];
        }
        let column = M::along(column);
        for q in 0..P {
            result[q][p] = column[q];
        }
    }
    result
}

impl Along<SIDE, SIDE> for Windows {
    #[inline(always)]
    fn along(d: [Lanes; SIDE]) -> [Lanes; SIDE] {
        let (even, odd) = (d[4] - d[2] * 4.0, d[3] - d[1] * 4.0);
        let (near, far) = (d[4] - d[2], (d[3] - d[1]) * 2.0);
        [
            d[0] * 4.0 - d[2] * 5.0 + d[4],
            even + odd,
            even - odd,
            near + far,
            near - far,
            d[1] * 4.0 - d[3] * 5.0 + d[5],
        ]
    }
}

impl<const N: usize> Along<N, SIDE> for Evaluate {
    #[inline(always)]
    fn along(d: [Lanes; N]) -> [Lanes; SIDE] {
        let mut near = [Lanes::ZERO; 2]; // even, odd powers of 1
        let mut far = [Lanes::ZERO; 2]; // even, odd powers of 2
        for k in 0..N {
            near[k % 2] = near[k % 2] + d[k];
            far[k % 2] = far[k % 2] + d[k] * (1 << k) as f32;
        }
        [
            d[0] * 0.25,
            (near[0] + near[1]) * (-1.0 / 6.0),
            (near[0] - near[1]) * (-1.0 / 6.0),
            (far[0] + far[1]) * (1.0 / 24.0),
            (far[0] - far[1]) * (1.0 / 24.0),
            d[N - 1],
        ]
    }
}

impl<const N: usize> Along<SIDE, N> for Interpolate {
    #[inline(always)]
    fn along(m: [Lanes; SIDE]) -> [Lanes; N] {
        let near = [m[1] + m[2], m[1] - m[2]];
        let far = [m[3] + m[4], m[3] - m[4]];
        let mut coefficients = [Lanes::ZERO; N];
        for k in 0..N {
            coefficients[k] = near[k % 2] + far[k % 2] * (1 << k) as f32;
        }
        coefficients[0] = coefficients[0] + m[0];
        coefficients[N - 1] = coefficients[N - 1] + m[5];
        coefficients
    }
}
