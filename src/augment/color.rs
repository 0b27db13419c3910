//! Brightness, contrast and saturation as Pillow's `ImageEnhance`: each blends the picture with a duller one, black,
//! evenly grey or without colour, and a factor above 1 moves away from the duller one (`Blend.c`).

use pulp::Arch;

use super::Picture;
use super::bytes::floor_to_byte;

/// Blends with black.
pub(super) fn brightness(picture: &mut Picture, factor: f64) {
    blend_all(picture, 0, factor as f32);
}

/// Blends with the mean luminance of the picture.
pub(super) fn contrast(picture: &mut Picture, factor: f64) {
    let [red, green, blue] = picture.planes_mut();
    let pixels = red.len() as f64;
    let sum: u64 = Arch::new().dispatch(
        #[inline(always)]
        || {
            let colors = red.iter().zip(&*green).zip(&*blue);
            colors.map(|((red, green), blue)| u64::from(luminance(*red, *green, *blue))).sum()
        },
    );
    let mean = (sum as f64 / pixels + 0.5) as u8;
    blend_all(picture, mean, factor as f32);
}

/// Blends with the luminance of each pixel.
pub(super) fn saturation(picture: &mut Picture, factor: f64) {
    let factor = factor as f32;
    let [red, green, blue] = picture.planes_mut();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
                let grey = luminance(*red, *green, *blue) as u8;
                *red = blend(grey, *red, factor);
                *green = blend(grey, *green, factor);
                *blue = blend(grey, *blue, factor);
            }
        },
    );
}

fn blend_all(picture: &mut Picture, dull: u8, factor: f32) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for pixel in picture.pixels_mut() {
                *pixel = blend(dull, *pixel, factor);
            }
        },
    );
}

/// The weights of ITU-R 601-2 in 16-bit fixed-point numbers, rounded to nearest (`Convert.c: L24`).
#[inline(always)]
fn luminance(red: u8, green: u8, blue: u8) -> u32 {
    (u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16
}

/// `dull + factor * (pixel - dull)`, cut to bytes and not rounded.
#[inline(always)]
fn blend(dull: u8, pixel: u8, factor: f32) -> u8 {
    let blended = f32::from(dull) + factor * (f32::from(pixel) - f32::from(dull));
    floor_to_byte(blended.clamp(0.0, 255.0))
}
