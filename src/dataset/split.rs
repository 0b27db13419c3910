//! Divides labelled images among parts: which image goes where depends on the labels, on which images are equal,
//! the fractions and a seed. It sees labels and fingerprints only, never pixels.

use std::collections::{BTreeMap, HashMap};
use std::iter::repeat_n;

use super::Fingerprint;
use super::random::{Purpose, Stream};

/// For each fraction the numbers of the images that go to that part, ascending.
///
/// The split is stratified: of the `n` images of a class, part `p` gets `fractions[p] * n`, rounded by largest
/// remainder so that the parts add up to what the fractions add up to. What is left over goes to no part.
///
/// Images of the same fingerprint stay together, counted with the class of the first. Where so many are equal that
/// the numbers do not come out, a part has a few more or fewer.
///
/// # Panics
/// If there are not as many fingerprints as labels.
#[must_use]
pub fn stratified(
    labels: &[u8],
    fingerprints: &[Fingerprint],
    fractions: &[f64],
    seed: u64,
) -> Vec<Vec<usize>> {
    let mut parts = vec![Vec::new(); fractions.len()];
    for (class, mut groups) in groups_by_class(labels, fingerprints) {
        Stream::new(seed, Purpose::Split, u64::from(class), 0).shuffle(&mut groups);
        let images = groups.iter().map(Vec::len).sum();
        for (group, part) in groups.iter().zip(places(&groups, &shares(images, fractions))) {
            // The place behind the last part is that of the images left over.
            if let Some(part) = parts.get_mut(part) {
                part.extend_from_slice(group);
            }
        }
    }
    for part in &mut parts {
        part.sort_unstable();
    }
    parts
}

/// Equal images in one group, most groups being of one image; by class, in the order of their first images.
fn groups_by_class(labels: &[u8], fingerprints: &[Fingerprint]) -> BTreeMap<u8, Vec<Vec<usize>>> {
    assert_eq!(labels.len(), fingerprints.len(), "one fingerprint per image");
    let mut by_class: BTreeMap<u8, Vec<Vec<usize>>> = BTreeMap::new();
    let mut known: HashMap<Fingerprint, (u8, usize)> = HashMap::new();
    for (image, (label, fingerprint)) in labels.iter().zip(fingerprints).enumerate() {
        let (class, group) = *known.entry(*fingerprint).or_insert_with(|| {
            let groups = by_class.entry(*label).or_default();
            groups.push(Vec::new());
            (*label, groups.len() - 1)
        });
        by_class.get_mut(&class).expect("the group is of a known class")[group].push(image);
    }
    by_class
}

/// For each group the number of its part, or the number of parts for those left over.
///
/// Dealt out in order, each part would take `shares[part]` images in a row. Groups of several images go first, each
/// to the part in which its first image would fall, or else to one that has room for all; single images then fill
/// the parts up.
fn places(groups: &[Vec<usize>], shares: &[usize]) -> Vec<usize> {
    let images: usize = groups.iter().map(Vec::len).sum();
    let mut room = shares.to_vec();
    room.push(images - shares.iter().sum::<usize>());
    let dealt: Vec<usize> =
        room.iter().enumerate().flat_map(|(part, share)| repeat_n(part, *share)).collect();
    let mut places = vec![0; groups.len()];
    let mut first = 0;
    for (place, group) in places.iter_mut().zip(groups) {
        if group.len() > 1 {
            let with_room = [dealt[first]].into_iter().chain(0..room.len());
            let most_room = || (0..room.len()).rev().max_by_key(|part| room[*part]);
            let part = with_room.into_iter().find(|part| room[*part] >= group.len()).or_else(most_room);
            *place = part.expect("there is a part for what is left over");
            room[*place] = room[*place].saturating_sub(group.len());
        }
        first += group.len();
    }
    let mut rest = room.iter().enumerate().flat_map(|(part, room)| repeat_n(part, *room));
    for (place, _) in places.iter_mut().zip(groups).filter(|(_, group)| group.len() == 1) {
        *place = rest.next().expect("there is room for as many as have no place");
    }
    places
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

    /// As many images, all of them different.
    fn different(count: usize) -> Vec<Fingerprint> {
        (0..count).map(|i| Fingerprint::of(&i.to_le_bytes(), 1, 1)).collect()
    }

    /// `per_class` images of each of ten classes, mixed.
    fn labels(per_class: usize) -> Vec<u8> {
        (0..per_class * 10).map(|i| (i * 7 % 10) as u8).collect()
    }

    #[test]
    fn stl10_splits_into_4000_and_1000_with_equal_classes() {
        let labels = labels(500);
        let parts = stratified(&labels, &different(5000), &[0.8, 0.2], 1337);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [4000, 1000]);
        for class in 0..10 {
            assert_eq!(parts[1].iter().filter(|i| labels[**i] == class).count(), 100);
        }
    }

    #[test]
    fn another_seed_gives_another_split_and_the_same_seed_the_same() {
        let labels = labels(50);
        let split = |seed| stratified(&labels, &different(500), &[0.5, 0.5], seed);
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

    #[test]
    fn a_few_copies_change_no_count() {
        let labels = labels(50);
        let mut fingerprints = different(500);
        for (copy, original) in [(10, 0), (20, 0), (495, 5), (33, 3), (43, 3), (53, 3)] {
            assert_eq!(labels[copy], labels[original]);
            fingerprints[copy] = fingerprints[original];
        }
        for seed in 0..50 {
            let parts = stratified(&labels, &fingerprints, &[0.8, 0.1], seed);
            for (part, count) in parts.iter().zip([40, 5]) {
                for class in 0..10 {
                    assert_eq!(part.iter().filter(|i| labels[**i] == class).count(), count, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn draws_of_the_same_images_are_divided_by_image() {
        let labels: Vec<u8> = (0..1000).map(|i| (i % 100 / 10) as u8).collect();
        let fingerprints: Vec<Fingerprint> = different(100).into_iter().cycle().take(1000).collect();
        let parts = stratified(&labels, &fingerprints, &[0.8, 0.2], 7);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [800, 200]);
        assert!(parts[1].iter().all(|i| parts[1].contains(&((i + 100) % 1000))));
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_complete_and_keep_equal_images_together(
            images in prop::collection::vec((0u8..10, 0usize..200), 0..300),
            fraction in 0.01f64..0.99,
            seed: u64,
        ) {
            let labels: Vec<u8> = images.iter().map(|(label, _)| *label).collect();
            let different = different(200);
            let fingerprints: Vec<Fingerprint> = images.iter().map(|(_, which)| different[*which]).collect();
            let parts = stratified(&labels, &fingerprints, &[fraction, 1.0 - fraction], seed);
            let mut all: Vec<usize> = parts.concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..labels.len()));
            for part in &parts {
                prop_assert!(part.is_sorted());
            }
            prop_assert!(!parts[0].iter().any(|i| parts[1].iter().any(|j| fingerprints[*i] == fingerprints[*j])));
        }
    }
}
