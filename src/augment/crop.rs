//! Chooses a window as torchvision's `RandomResizedCrop`: its area uniform in 8 % to 100 % of the picture, its ratio
//! of width to height log-uniform in 3/4 to 4/3, its place uniform. It chooses only; `resize` does the rest.

use super::resize::Window;
use crate::dataset::random::Stream;

const AREA: (f64, f64) = (0.08, 1.0);
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// After so many windows that do not fit, the largest central one is taken.
const TRIES: usize = 10;

/// Draws a window inside a picture of the given size.
pub(super) fn random_window(height: usize, width: usize, stream: &mut Stream) -> Window {
    for _ in 0..TRIES {
        let area = (height * width) as f64 * stream.between(AREA.0, AREA.1);
        let ratio = stream.between(RATIO.0.ln(), RATIO.1.ln()).exp();
        let window_width = (area * ratio).sqrt().round_ties_even() as usize;
        let window_height = (area / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&window_width) && (1..=height).contains(&window_height) {
            return Window {
                top: stream.below((height - window_height + 1) as u32) as usize,
                left: stream.below((width - window_width + 1) as u32) as usize,
                height: window_height,
                width: window_width,
            };
        }
    }
    central_window(height, width)
}

/// The largest central window whose ratio is allowed.
fn central_window(height: usize, width: usize) -> Window {
    let ratio = width as f64 / height as f64;
    let (window_height, window_width) = if ratio < RATIO.0 {
        ((width as f64 / RATIO.0).round_ties_even() as usize, width)
    } else if ratio > RATIO.1 {
        (height, (height as f64 * RATIO.1).round_ties_even() as usize)
    } else {
        (height, width)
    };
    Window {
        top: (height - window_height) / 2,
        left: (width - window_width) / 2,
        height: window_height,
        width: window_width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::Purpose;

    fn windows(count: u64) -> impl Iterator<Item = Window> {
        (0..count).map(|sample| random_window(96, 96, &mut Stream::new(7, Purpose::Augment, sample, 0)))
    }

    #[test]
    fn windows_lie_inside_and_keep_to_the_ratio_and_the_area() {
        for window in windows(5000) {
            assert!(window.top + window.height <= 96 && window.left + window.width <= 96);
            let ratio = window.width as f64 / window.height as f64;
            assert!((0.72..=1.39).contains(&ratio), "{window:?}");
            assert!((window.width * window.height) as f64 >= 0.075 * 96.0 * 96.0, "{window:?}");
        }
    }

    #[test]
    fn area_and_ratio_are_spread_as_torchvision_spreads_them() {
        // From torchvision's algorithm: the mean area is below 0.54 because large windows fail to fit more often.
        let (mut area, mut log_ratio, n) = (0.0, 0.0, 20_000);
        for window in windows(n) {
            area += (window.width * window.height) as f64 / (96.0 * 96.0) / n as f64;
            log_ratio += (window.width as f64 / window.height as f64).ln() / n as f64;
        }
        assert!((0.47..0.54).contains(&area), "mean area {area}");
        assert!(log_ratio.abs() < 0.005, "mean log ratio {log_ratio}");
    }

    #[test]
    fn pictures_too_narrow_for_any_window_get_the_central_one() {
        assert_eq!(central_window(100, 10), Window { top: 43, left: 0, height: 13, width: 10 });
        assert_eq!(central_window(10, 100), Window { top: 0, left: 43, height: 10, width: 13 });
        assert_eq!(central_window(96, 96), Window { top: 0, left: 0, height: 96, width: 96 });
        let mut stream = Stream::new(1, Purpose::Augment, 0, 0);
        let window = random_window(200, 2, &mut stream);
        assert!(window.width <= 2 && window.height <= 3);
    }
}
