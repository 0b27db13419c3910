//! Divides labelled images among parts: which image goes where depends on the labels, the fractions and a
//! seed. It sees labels only, never pixels.

use std::collections::BTreeMap;

use super::random::{Purpose, Stream};

/// For each fraction the numbers of the images that go to that part, ascending.
///
/// The split is stratified: of the `n` images of a class, part `p` gets `fractions[p] * n`, rounded by largest
/// remainder so that the parts add up to what the fractions add up to. What is left over goes to no part.
#[must_use]
pub fn stratified(labels: &[u8], fractions: &[f64], seed: u64) -> Vec<Vec<usize>> {
    let mut by_class: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for (image, label) in labels.iter().enumerate() {
        by_class.entry(*label).or_default().push(image);
    }
    let mut parts = vec![Vec::new(); fractions.len()];
    for (class, mut images) in by_class {
        Stream::new(seed, Purpose::Split, u64::from(class), 0).shuffle(&mut images);
        let mut rest = images.as_slice();
        for (part, share) in parts.iter_mut().zip(shares(images.len(), fractions)) {
            let (mine, others) = rest.split_at(share);
            part.extend_from_slice(mine);
            rest = others;
        }
    }
    for part in &mut parts {
        part.sort_unstable();
    }
    parts
}

/// Whole numbers close to `fractions[i] * n` that add up to the sum of the fractions times `n`, rounded: each is
/// rounded down first, and what is missing goes to the largest remainders, the earlier part winning a tie.
fn shares(n: usize, fractions: &[f64]) -> Vec<usize> {
    // A fraction such as 0.29 of 100 must count as 29, not as 28.999999999999996.
    const ROUNDING: f64 = 1e-9;
    let quotas: Vec<f64> = fractions.iter().map(|fraction| fraction * n as f64 + ROUNDING).collect();
    let mut shares: Vec<usize> = quotas.iter().map(|quota| quota.floor() as usize).collect();
    let total = (quotas.iter().sum::<f64>().round() as usize).min(n);
    let mut by_remainder: Vec<usize> = (0..quotas.len()).collect();
    by_remainder.sort_by(|a, b| quotas[*b].fract().total_cmp(&quotas[*a].fract()));
    let missing = total.saturating_sub(shares.iter().sum());
    for part in by_remainder.into_iter().take(missing) {
        shares[part] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `per_class` images of each of ten classes, mixed.
    fn labels(per_class: usize) -> Vec<u8> {
        (0..per_class * 10).map(|i| (i * 7 % 10) as u8).collect()
    }

    #[test]
    fn stl10_splits_into_4000_and_1000_with_equal_classes() {
        let labels = labels(500);
        let parts = stratified(&labels, &[0.8, 0.2], 1337);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [4000, 1000]);
        for class in 0..10 {
            assert_eq!(parts[1].iter().filter(|i| labels[**i] == class).count(), 100);
        }
    }

    #[test]
    fn another_seed_gives_another_split_and_the_same_seed_the_same() {
        let labels = labels(50);
        let split = |seed| stratified(&labels, &[0.5, 0.5], seed);
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
    }

    #[test]
    fn fractions_are_rounded_by_largest_remainder() {
        assert_eq!(shares(10, &[0.85, 0.15]), [9, 1]);
        assert_eq!(shares(10, &[0.34, 0.33, 0.33]), [4, 3, 3]);
        assert_eq!(shares(3, &[0.5, 0.5]), [2, 1]);
        assert_eq!(shares(100, &[0.29, 0.71]), [29, 71]);
        assert_eq!(shares(10, &[0.7]), [7]);
        assert_eq!(shares(0, &[0.5, 0.5]), [0, 0]);
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_complete(
            labels in prop::collection::vec(0u8..10, 0..300),
            fraction in 0.01f64..0.99,
            seed: u64,
        ) {
            let parts = stratified(&labels, &[fraction, 1.0 - fraction], seed);
            let mut all: Vec<usize> = parts.concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..labels.len()));
            for part in &parts {
                prop_assert!(part.is_sorted());
            }
        }
    }
}
