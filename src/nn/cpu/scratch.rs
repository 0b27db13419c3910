//! Buffers that each thread keeps between uses, because fresh pages cost more than the work done in them. They begin with a
//! line of the cache, so that no vector lies in two lines whose place is a multiple of its length.

use std::cell::RefCell;

use super::level::LINE;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Lends a buffer of `len` values, whatever they are, for one piece of work.
pub fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() * LINE < len {
        buffer.resize(len.div_ceil(LINE), Line([0.0; LINE]));
    }
    // SAFETY: lines are nothing but numbers, one after the other, and borrowed as long as the slice.
    let values =
        unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<f32>(), buffer.len() * LINE) };
    let result = work(&mut values[..len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}
