//! Pooling of planes (height, width): the maximum over windows, and the mean over the whole plane.

use rayon::prelude::*;

/// Windows of side `side`, `stride` apart, over planes with `padding` beyond each edge.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Rows and columns of a window, at most 16.
    pub side: usize,
    /// Steps between neighbouring windows.
    pub stride: usize,
    /// What lies beyond each edge and never wins; less than `side`.
    pub padding: usize,
    /// Rows of a plane.
    pub height: usize,
    /// Columns of a plane.
    pub width: usize,
}

impl Window {
    /// Rows of the result.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.side) / self.stride + 1
    }

    /// Columns of the result.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.side) / self.stride + 1
    }

    /// The largest value of the window at output (row, column), and where in the window it stands.
    fn largest(&self, plane: &[f32], row: usize, column: usize) -> (f32, u8) {
        let rows = self.inside(row, self.height);
        let mut found = None;
        for y in rows {
            for x in self.inside(column, self.width) {
                let source = (row * self.stride + y - self.padding) * self.width + column * self.stride + x
                    - self.padding;
                let value = plane[source];
                match found {
                    Some((largest, _)) if !(value > largest || value.is_nan()) => {}
                    _ => found = Some((value, (y * self.side + x) as u8)),
                }
            }
        }
        found.expect("padding is less than a window, so every window meets the plane")
    }

    /// The places within a window that lie within the plane, along one axis.
    fn inside(&self, at: usize, size: usize) -> std::ops::Range<usize> {
        let start = at * self.stride;
        self.padding.saturating_sub(start)..self.side.min(size + self.padding - start)
    }
}

/// The largest value of each window, and where in its window each stands (row-major, the first of equal ones).
pub fn forward(window: &Window, x: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let (plane, out_width) = (window.height * window.width, window.out_width());
    let out_plane = window.out_height() * out_width;
    let planes = x.len() / plane;
    let (mut y, mut winners) = (vec![0.0; planes * out_plane], vec![0; planes * out_plane]);
    y.par_chunks_mut(out_plane).zip(winners.par_chunks_mut(out_plane)).zip(x.par_chunks(plane)).for_each(
        |((y, winners), x)| {
            for (at, (y, winner)) in y.iter_mut().zip(winners).enumerate() {
                (*y, *winner) = window.largest(x, at / out_width, at % out_width);
            }
        },
    );
    (y, winners)
}

/// dx += dy at the winners.
pub fn add_input_gradient(window: &Window, winners: &[u8], dy: &[f32], dx: &mut [f32]) {
    let (plane, out_width) = (window.height * window.width, window.out_width());
    let out_plane = window.out_height() * out_width;
    dx.par_chunks_mut(plane).zip(dy.par_chunks(out_plane)).zip(winners.par_chunks(out_plane)).for_each(
        |((dx, dy), winners)| {
            for (at, (dy, &winner)) in dy.iter().zip(winners).enumerate() {
                let (y, x) = (usize::from(winner) / window.side, usize::from(winner) % window.side);
                let row = at / out_width * window.stride + y - window.padding;
                let column = at % out_width * window.stride + x - window.padding;
                dx[row * window.width + column] += dy;
            }
        },
    );
}

/// The mean of each plane of `space` values.
pub fn means(x: &[f32], space: usize) -> Vec<f32> {
    x.par_chunks(space).map(|plane| (super::elementwise::sum(plane) / space as f64) as f32).collect()
}

/// dx += dy / space, all over each plane.
pub fn add_means_gradient(dy: &[f32], space: usize, dx: &mut [f32]) {
    dx.par_chunks_mut(space).zip(dy).for_each(|(plane, dy)| {
        for dx in plane {
            *dx += dy / space as f32;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_values_takes_the_gradient() {
        let window = Window { side: 2, stride: 2, padding: 0, height: 2, width: 4 };
        let (y, winners) = forward(&window, &[5.0, 5.0, 1.0, 2.0, 5.0, 0.0, 3.0, 3.0]);
        assert_eq!((y, &winners), (vec![5.0, 3.0], &vec![0, 2]));
        let mut dx = vec![0.0; 8];
        add_input_gradient(&window, &winners, &[1.0, 2.0], &mut dx);
        assert_eq!(dx, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    }

    #[test]
    fn padding_never_wins() {
        let window = Window { side: 3, stride: 2, padding: 1, height: 3, width: 3 };
        let plane: Vec<f32> = (1..=9u8).map(|i| -f32::from(i)).collect();
        assert_eq!(forward(&window, &plane).0, [-1.0, -2.0, -4.0, -5.0]);
    }

    #[test]
    fn nan_is_the_largest_value() {
        let window = Window { side: 2, stride: 2, padding: 0, height: 2, width: 2 };
        assert!(forward(&window, &[1.0, f32::NAN, 3.0, 2.0]).0[0].is_nan());
    }
}
