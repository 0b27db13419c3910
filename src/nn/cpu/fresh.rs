//! Buffers that are not filled with zeros first, which would cost as much as many a loop over them.

use std::mem::MaybeUninit;

/// A buffer of `len` values.
///
/// # Safety
/// `fill` writes every one of them.
pub unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Box::new_uninit_slice(len);
    ask_for_huge_pages(&mut values);
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

/// How large a huge page is, in bytes.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// Asks the system to put a large buffer into huge pages, where it does so when asked: a step of training goes over more
/// memory than a core remembers the places of small pages for.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(buffer: &mut [MaybeUninit<f32>]) {
    use rustix::mm::{Advice, madvise};

    let place = buffer.as_mut_ptr_range();
    if size_of_val(buffer) < 2 * HUGE_PAGE {
        return; // it may hold no whole one
    }
    // From the page that it begins in to that in which it ends, so that buffers side by side share a huge page.
    let before = place.start.addr() % rustix::param::page_size();
    let first = place.start.wrapping_byte_sub(before);
    let length = (place.end.addr() - first.addr()).next_multiple_of(rustix::param::page_size());
    // SAFETY: advice changes no contents, and whatever else lies in the first and the last page may lie in a huge one as
    // well. Refused, it changes nothing.
    let _ = unsafe { madvise(first.cast(), length, Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: &mut [MaybeUninit<f32>]) {}
