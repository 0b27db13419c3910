//! Brightness, contrast and saturation as Pillow's `ImageEnhance`: each blends the picture with a duller one, black,
//! evenly grey or without colour, and a factor above 1 moves away from the duller one (`Blend.c`).

use super::Picture;

/// Blends with black.
pub(super) fn brightness(picture: &mut Picture, factor: f64) {
    for pixel in picture.pixels_mut() {
        *pixel = blend(0, *pixel, factor as f32);
    }
}

/// Blends with the mean luminance of the picture.
pub(super) fn contrast(picture: &mut Picture, factor: f64) {
    let [red, green, blue] = picture.planes_mut();
    let pixels = red.len() as f64;
    let sum: u64 =
        red.iter().zip(&*green).zip(&*blue).map(|((r, g), b)| u64::from(luminance(*r, *g, *b))).sum();
    let mean = (sum as f64 / pixels + 0.5) as u8;
    for pixel in picture.pixels_mut() {
        *pixel = blend(mean, *pixel, factor as f32);
    }
}

/// Blends with the luminance of each pixel.
pub(super) fn saturation(picture: &mut Picture, factor: f64) {
    let [red, green, blue] = picture.planes_mut();
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let grey = luminance(*red, *green, *blue);
        *red = blend(grey, *red, factor as f32);
        *green = blend(grey, *green, factor as f32);
        *blue = blend(grey, *blue, factor as f32);
    }
}

/// The weights of ITU-R 601-2 in 16-bit fixed-point numbers, rounded to nearest (`Convert.c: L24`).
fn luminance(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// `dull + factor * (pixel - dull)`, cut to bytes and not rounded.
fn blend(dull: u8, pixel: u8, factor: f32) -> u8 {
    let blended = f32::from(dull) + factor * (f32::from(pixel) - f32::from(dull));
    blended.clamp(0.0, 255.0) as u8
}
