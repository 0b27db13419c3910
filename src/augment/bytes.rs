//! Turns floating-point levels into bytes in a way that compilers can do for many pixels at once, where a plain `as`
//! makes them check every number for being out of range.

/// The integer part of a level from 0 to 255.
#[inline(always)]
pub(super) fn floor_to_byte(level: f32) -> u8 {
    // At 2^23 the spacing of numbers is 1, so the integer part ends up in the lowest bits.
    (level.floor() + 8_388_608.0).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integer_part_is_cut_off_not_rounded() {
        for byte in 0..=255u8 {
            assert_eq!(floor_to_byte(f32::from(byte)), byte);
            assert_eq!(floor_to_byte(f32::from(byte) + 0.999), byte);
        }
    }
}
