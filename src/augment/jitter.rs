//! Changes colours at random as torchvision's `ColorJitter`: brightness, contrast, saturation and hue, each by a
//! factor of its own, in an order drawn for every picture.

use super::Picture;
use super::color::{brightness, contrast, saturation};
use super::hue::turn_hue;
use crate::dataset::random::Stream;

/// How far brightness, contrast, saturation and hue may go, in this order.
pub(super) fn color_jitter(picture: &mut Picture, strengths: [f64; 4], stream: &mut Stream) {
    for change in draw(strengths, stream) {
        match change {
            Change::Brightness(factor) => brightness(picture, factor),
            Change::Contrast(factor) => contrast(picture, factor),
            Change::Saturation(factor) => saturation(picture, factor),
            Change::Hue(factor) => turn_hue(picture, factor),
        }
    }
}

/// One change with its factor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
    Hue(f64),
}

/// Which changes to make, in which order; a strength of 0 means that this one is left alone.
fn draw([brightness, contrast, saturation, hue]: [f64; 4], stream: &mut Stream) -> Vec<Change> {
    let mut around_one = |strength: f64| stream.between((1.0 - strength).max(0.0), 1.0 + strength);
    let mut changes = Vec::with_capacity(4);
    if brightness > 0.0 {
        changes.push(Change::Brightness(around_one(brightness)));
    }
    if contrast > 0.0 {
        changes.push(Change::Contrast(around_one(contrast)));
    }
    if saturation > 0.0 {
        changes.push(Change::Saturation(around_one(saturation)));
    }
    if hue > 0.0 {
        changes.push(Change::Hue(stream.between(-hue, hue)));
    }
    stream.shuffle(&mut changes);
    changes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dataset::random::Purpose;

    fn draws(strengths: [f64; 4], count: u64) -> impl Iterator<Item = Vec<Change>> {
        (0..count).map(move |sample| draw(strengths, &mut Stream::new(3, Purpose::Augment, sample, 0)))
    }

    #[test]
    fn all_24_orders_are_equally_likely() {
        let mut orders: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
        for changes in draws([0.3; 4], 24_000) {
            let order = changes.iter().map(|change| match change {
                Change::Brightness(_) => 0,
                Change::Contrast(_) => 1,
                Change::Saturation(_) => 2,
                Change::Hue(_) => 3,
            });
            *orders.entry(order.collect()).or_default() += 1;
        }
        assert_eq!(orders.len(), 24);
        // Five standard deviations of a binomial of 24,000 trials at 1/24.
        assert!(orders.values().all(|count| count.abs_diff(1000) < 155), "{orders:?}");
    }

    #[test]
    fn factors_are_uniform_around_one_and_the_hue_around_zero() {
        let (mut sums, n) = ([0.0; 4], 20_000);
        for change in draws([0.3, 0.5, 2.0, 0.1], n).flatten() {
            let (place, factor, low, high) = match change {
                Change::Brightness(factor) => (0, factor, 0.7, 1.3),
                Change::Contrast(factor) => (1, factor, 0.5, 1.5),
                Change::Saturation(factor) => (2, factor, 0.0, 3.0),
                Change::Hue(factor) => (3, factor, -0.1, 0.1),
            };
            assert!((low..high).contains(&factor), "{change:?}");
            sums[place] += factor / n as f64;
        }
        for (mean, expected) in sums.into_iter().zip([1.0, 1.0, 1.5, 0.0]) {
            assert!((mean - expected).abs() < 0.03, "{sums:?}");
        }
    }

    #[test]
    fn a_strength_of_zero_leaves_it_alone() {
        for changes in draws([0.0, 0.0, 0.0, 0.2], 10) {
            assert!(matches!(changes[..], [Change::Hue(_)]));
        }
    }
}
