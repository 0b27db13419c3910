//! Mirrors a picture left to right, as Pillow's `transpose(FLIP_LEFT_RIGHT)`.

use super::Picture;

/// Mirrors left to right.
pub(super) fn flip(picture: &mut Picture) {
    let width = picture.width();
    for row in picture.pixels_mut().chunks_exact_mut(width) {
        row.reverse();
    }
}
