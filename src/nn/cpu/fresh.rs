//! Buffers that are not filled with zeros first, which would cost as much as many a loop over them.

use std::mem::MaybeUninit;

/// A buffer of `len` values.
///
/// # Safety
/// `fill` writes every one of them.
pub unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Box::new_uninit_slice(len);
    fill(&mut values);
    // SAFETY: all were written, as the caller promises.
    unsafe { values.assume_init() }.into_vec()
}

/// Fills a part of such a buffer with zeros.
pub fn zeroed(place: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    place.fill(MaybeUninit::new(0.0));
    // SAFETY: they have just been written.
    unsafe { place.assume_init_mut() }
}
