//! Turns the hue of a picture as torchvision's `adjust_hue` on a Pillow image: to HSV in bytes, add to the hue with
//! wrap-around, and back (`Convert.c: rgb2hsv_row, hsv2rgb`). Where Pillow computes in single precision and where in
//! double decides about bytes, so both are as there.

use super::Picture;

/// Turns the hue by a factor from -0.5 to 0.5, 1 being the full circle.
pub(super) fn turn_hue(picture: &mut Picture, factor: f64) {
    // Truncated towards zero and wrapped, as numpy casts.
    let turn = (factor * 255.0) as i32 as u8;
    let [red, green, blue] = picture.planes_mut();
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let (hue, saturation, value) = to_hsv(*red, *green, *blue);
        (*red, *green, *blue) = to_rgb(hue.wrapping_add(turn), saturation, value);
    }
}

fn to_hsv(red: u8, green: u8, blue: u8) -> (u8, u8, u8) {
    let max = red.max(green).max(blue);
    let min = red.min(green).min(blue);
    if max == min {
        return (0, 0, max);
    }
    let range = f32::from(max - min);
    let distance = |channel: u8| f32::from(max - channel) / range;
    // Sixths of the circle, counted from red.
    let sixths = if red == max {
        distance(blue) - distance(green)
    } else if green == max {
        (2.0 + f64::from(distance(red)) - f64::from(distance(blue))) as f32
    } else {
        (4.0 + f64::from(distance(green)) - f64::from(distance(red))) as f32
    };
    let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(max);
    ((f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, max)
}

fn to_rgb(hue: u8, saturation: u8, value: u8) -> (u8, u8, u8) {
    if saturation == 0 {
        return (value, value, value);
    }
    let sixths = f64::from(hue) * 6.0 / 255.0;
    let sector = sixths.floor();
    let fraction = f64::from((sixths - sector) as f32);
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let dimmed = |by: f64| (f64::from(value) * (1.0 - by)).round() as u8;
    let low = dimmed(saturation);
    let falling = dimmed(saturation * fraction);
    let rising = dimmed(saturation * (1.0 - fraction));
    match sector as u8 % 6 {
        0 => (value, rising, low),
        1 => (falling, value, low),
        2 => (low, value, rising),
        3 => (low, falling, value),
        4 => (rising, low, value),
        _ => (value, low, falling),
    }
}
