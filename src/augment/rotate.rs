//! Rotates a picture about its centre, counter-clockwise, taking the nearest pixel and filling with black: Pillow's
//! `rotate` with its inverse affine map in 16.16 fixed-point numbers (`Image.rotate`, `Geometry.c: affine_fixed`).
//! The bytes are Pillow's for every angle but exact multiples of 90 degrees, which Pillow treats apart.

use std::ops::Range;

use super::Picture;

/// Rotates by an angle in degrees.
pub(super) fn rotate(picture: &mut Picture, degrees: f64) {
    let (height, width) = (picture.height(), picture.width());
    let map = InverseMap::new(degrees, height, width);
    picture.redraw(height, width, |from, to| map.draw(from, to, height, width));
}

/// Where in the source each pixel of the result comes from, in units of 2^-16 pixels:
/// `x_source = x0 + x_per_x * x + x_per_y * y`, and the same for `y_source`.
struct InverseMap {
    x0: i64,
    x_per_x: i64,
    x_per_y: i64,
    y0: i64,
    y_per_x: i64,
    y_per_y: i64,
}

impl InverseMap {
    fn new(degrees: f64, height: usize, width: usize) -> InverseMap {
        let angle = -degrees.rem_euclid(360.0).to_radians();
        let (sin, cos) = (round15(angle.sin()), round15(angle.cos()));
        let (center_x, center_y) = (width as f64 / 2.0, height as f64 / 2.0);
        let x0 = cos * -center_x + sin * -center_y + center_x;
        let y0 = -sin * -center_x + cos * -center_y + center_y;
        // A pixel's colour is looked up at its middle.
        InverseMap {
            x0: fixed(x0 + cos * 0.5 + sin * 0.5),
            x_per_x: fixed(cos),
            x_per_y: fixed(sin),
            y0: fixed(y0 + -sin * 0.5 + cos * 0.5),
            y_per_x: fixed(-sin),
            y_per_y: fixed(cos),
        }
    }

    fn draw(&self, from: &[u8], to: &mut [u8], height: usize, width: usize) {
        let plane = height * width;
        let mut sources = Vec::with_capacity(width);
        for y in 0..height {
            let row_x = self.x0 + self.x_per_y * y as i64;
            let row_y = self.y0 + self.y_per_y * y as i64;
            let inside_x = steps_inside(row_x, self.x_per_x, width, width);
            let inside_y = steps_inside(row_y, self.y_per_x, height, width);
            let inside = inside_x.start.max(inside_y.start)..inside_x.end.min(inside_y.end);
            // Between the bounds both coordinates fit 32 bits, so what overflows on the way there does no harm.
            let (row_x, row_y) = (row_x as u32, row_y as u32);
            let (step_x, step_y) = (self.x_per_x as u32, self.y_per_x as u32);
            sources.clear();
            sources.extend(inside.clone().map(|x| {
                let column = row_x.wrapping_add(step_x.wrapping_mul(x as u32)) >> 16;
                let row = row_y.wrapping_add(step_y.wrapping_mul(x as u32)) >> 16;
                row * width as u32 + column
            }));
            for (from, to) in from.chunks_exact(plane).zip(to.chunks_exact_mut(plane)) {
                for (pixel, source) in to[y * width + inside.start..].iter_mut().zip(&sources) {
                    *pixel = from[*source as usize];
                }
            }
        }
    }
}

/// The whole numbers `x` from 0 to `count` for which `start + step * x`, in units of 2^-16, lies in 0 to `size`.
/// As the map is linear, they are neighbours.
fn steps_inside(start: i64, step: i64, size: usize, count: usize) -> Range<usize> {
    let end = (size as i64) << 16;
    // Walking down from the far end meets the same numbers as walking up from the near one.
    let (start, step) = if step < 0 { (end - 1 - start, -step) } else { (start, step) };
    if step == 0 {
        return if (0..end).contains(&start) { 0..count } else { 0..0 };
    }
    let first_at_least =
        |bound: i64| (bound - start + step - 1).div_euclid(step).clamp(0, count as i64) as usize;
    first_at_least(0)..first_at_least(end)
}

/// The nearest multiple of 2^-16, as a count of them.
fn fixed(value: f64) -> i64 {
    (value * 65536.0 + 0.5).floor() as i64
}

/// Pillow rounds to 15 decimals, which makes the sine of 180 degrees zero.
fn round15(value: f64) -> f64 {
    (value * 1e15).round() / 1e15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_inside_are_those_found_by_trying() {
        for step in [-70_000, -65_536, -3_000, -1, 0, 1, 5, 40_000, 65_536, 90_000] {
            for start in [-200_000, -65_536, -1, 0, 1, 65_535, 300_000, 655_359, 655_360, 900_000] {
                let inside = |x: &usize| (0..10 << 16).contains(&(start + step * *x as i64));
                let tried: Vec<usize> = (0..20).filter(inside).collect();
                let range = steps_inside(start, step, 10, 20);
                assert_eq!(range.collect::<Vec<_>>(), tried, "start {start} step {step}");
            }
        }
    }
}
