//! Rotates a picture about its centre, counter-clockwise, taking the nearest pixel and filling with black: Pillow's
//! `rotate` with its inverse affine map in 16.16 fixed-point numbers (`Image.rotate`, `Geometry.c: affine_fixed`).
//! The bytes are Pillow's for every angle but exact multiples of 90 degrees, which Pillow treats apart.

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
        let (mut row_x, mut row_y) = (self.x0, self.y0);
        for y in 0..height {
            let (mut source_x, mut source_y) = (row_x, row_y);
            for x in 0..width {
                let (column, row) = (source_x >> 16, source_y >> 16);
                if (0..width as i64).contains(&column) && (0..height as i64).contains(&row) {
                    let source = row as usize * width + column as usize;
                    let target = y * width + x;
                    to[target] = from[source];
                    to[target + plane] = from[source + plane];
                    to[target + 2 * plane] = from[source + 2 * plane];
                }
                source_x += self.x_per_x;
                source_y += self.y_per_x;
            }
            row_x += self.x_per_y;
            row_y += self.y_per_y;
        }
    }
}

/// The nearest multiple of 2^-16, as a count of them.
fn fixed(value: f64) -> i64 {
    (value * 65536.0 + 0.5).floor() as i64
}

/// Pillow rounds to 15 decimals, which makes the sine of 180 degrees zero.
fn round15(value: f64) -> f64 {
    (value * 1e15).round() / 1e15
}
