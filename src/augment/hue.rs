//! Turns the hue of a picture as torchvision's `adjust_hue` on a Pillow image: to HSV in bytes, add to the hue with
//! wrap-around, and back (`Convert.c: rgb2hsv_row, hsv2rgb`). Where Pillow computes in single precision and where in
//! double decides about bytes, so both are as there.

use pulp::Arch;

use super::Picture;
use super::bytes::floor_to_byte;

/// Turns the hue by a factor from -0.5 to 0.5, 1 being the full circle.
pub(super) fn turn_hue(picture: &mut Picture, factor: f64) {
    // Truncated towards zero and wrapped, as numpy casts.
    let turn = (factor * 255.0) as i32 as u8;
    let [red, green, blue] = picture.planes_mut();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
                let (hue, saturation, value) = to_hsv(*red, *green, *blue);
                (*red, *green, *blue) = to_rgb(hue.wrapping_add(turn), saturation, value);
            }
        },
    );
}

/// Computes every case and then chooses, so that the loop over pixels has no branches.
#[inline(always)]
fn to_hsv(red: u8, green: u8, blue: u8) -> (u8, u8, u8) {
    let max = red.max(green).max(blue);
    let min = red.min(green).min(blue);
    let middle = red.max(green).min(red.min(green).max(blue));
    // Greys have no hue; a range of 1 keeps them from dividing by zero.
    let is_grey = max == min;
    let range = f32::from((max - min).max(1));
    let distance = f32::from(max - middle) / range;
    // Sixths of the circle, counted from red: an odd number, and the distance added or taken away.
    let (start, sign) = if red == max {
        if blue == min { (1.0, -1.0) } else { (-1.0, 1.0) }
    } else if green == max {
        if blue == min { (1.0, 1.0) } else { (3.0, -1.0) }
    } else if red == min {
        (3.0, 1.0)
    } else {
        (5.0, -1.0)
    };
    let sixths: f32 = start + sign * distance;
    let turns = f64::from(sixths) / 6.0 + 1.0;
    let hue = (turns - turns.floor()) as f32;
    let saturation = range / f32::from(max.max(1));
    let cut = |part: f32| if is_grey { 0 } else { floor_to_byte((f64::from(part) * 255.0).floor() as f32) };
    (cut(hue), cut(saturation), max)
}

#[inline(always)]
fn to_rgb(hue: u8, saturation: u8, value: u8) -> (u8, u8, u8) {
    let sixths = u32::from(hue) * 6;
    let sector = sixths / 255;
    let fraction = (sixths - 255 * sector) as f32 / 255.0;
    let saturation = f32::from(saturation) / 255.0;
    // Sector 6 is the end of the circle, where it begins again.
    let sector = if sector == 6 { 0 } else { sector };
    // One channel is at `value`, one at `low`; the third rises in even sectors and falls in odd ones.
    let low = floor_to_byte(f32::from(value) * (1.0 - saturation) + 0.5);
    let falls = sector & 1 == 1;
    let dimming = if falls {
        f64::from(saturation * fraction)
    } else {
        f64::from(saturation) * (1.0 - f64::from(fraction))
    };
    let moving = floor_to_byte((f64::from(value) * (1.0 - dimming) + 0.5).floor() as f32);
    let channel = |highest: [u32; 2], moves: [u32; 2]| {
        let below = if (sector == moves[0]) | (sector == moves[1]) { moving } else { low };
        if (sector == highest[0]) | (sector == highest[1]) { value } else { below }
    };
    (channel([5, 0], [1, 4]), channel([1, 2], [0, 3]), channel([3, 4], [2, 5]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same written down as in Pillow's `Convert.c`, case by case.
    fn turned_as_pillow_does(red: u8, green: u8, blue: u8, turn: u8) -> (u8, u8, u8) {
        let (max, min) = (red.max(green).max(blue), red.min(green).min(blue));
        if max == min {
            return (max, max, max);
        }
        let range = f32::from(max - min);
        let distance = |channel: u8| f32::from(max - channel) / range;
        let sixths = if red == max {
            distance(blue) - distance(green)
        } else if green == max {
            (2.0 + f64::from(distance(red)) - f64::from(distance(blue))) as f32
        } else {
            (4.0 + f64::from(distance(green)) - f64::from(distance(red))) as f32
        };
        let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
        let hue = ((f64::from(hue) * 255.0) as u8).wrapping_add(turn);
        let saturation = (f64::from(range / f32::from(max)) * 255.0) as u8;
        if saturation == 0 {
            return (max, max, max);
        }
        let sixths = f64::from(hue) * 6.0 / 255.0;
        let fraction = (sixths - sixths.floor()) as f32;
        let saturation = (f64::from(saturation) / 255.0) as f32;
        let dimmed = |by: f64| (f64::from(max) * (1.0 - by)).round() as u8;
        let low = dimmed(f64::from(saturation));
        let falling = dimmed(f64::from(saturation * fraction));
        let rising = dimmed(f64::from(saturation) * (1.0 - f64::from(fraction)));
        match sixths as u8 % 6 {
            0 => (max, rising, low),
            1 => (falling, max, low),
            2 => (low, max, rising),
            3 => (low, falling, max),
            4 => (rising, low, max),
            _ => (max, low, falling),
        }
    }

    #[test]
    fn a_loop_without_branches_gives_what_pillow_gives() {
        // Primes spread the colours and turns over all there are.
        for (number, color) in (0..1u32 << 24).step_by(61).enumerate() {
            let [red, green, blue, _] = color.to_le_bytes();
            let turn = (number * 37 % 256) as u8;
            let (hue, saturation, value) = to_hsv(red, green, blue);
            assert_eq!(
                to_rgb(hue.wrapping_add(turn), saturation, value),
                turned_as_pillow_does(red, green, blue, turn),
                "{red} {green} {blue} turned by {turn}"
            );
        }
    }
}
