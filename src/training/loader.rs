//! Batches from samples, prepared by a thread of its own while the network works on the one before. What is
//! in a batch depends on the seed and the epoch alone, never on threads.

use std::sync::mpsc::{SyncSender, sync_channel};

use rayon::prelude::*;

use super::normalisation::Normalisation;
use crate::augment::Samples;
use crate::dataset::random::{Purpose, Stream};
use crate::nn::Batch;

const BATCHES_AHEAD: usize = 2;

/// The samples of each batch of an epoch: all samples in random order, cut into full batches; those left over
/// sit this epoch out.
#[must_use]
pub fn shuffled(samples: usize, batch: usize, seed: u64, epoch: u32) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..samples).collect();
    Stream::new(seed, Purpose::Shuffle, 0, epoch).shuffle(&mut order);
    order.chunks_exact(batch).map(<[usize]>::to_vec).collect()
}

/// All samples in order, the last batch being what is left.
#[must_use]
pub fn in_order(samples: usize, batch: usize) -> Vec<Vec<usize>> {
    (0..samples).step_by(batch).map(|start| (start..samples.min(start + batch)).collect()).collect()
}

/// Hands one batch after the other to `take`, each drawn as this epoch draws it.
///
/// # Errors
/// The first error of `take`, which ends it.
pub fn for_each_batch<E>(
    samples: &Samples,
    normalisation: &Normalisation,
    epoch: u32,
    batches: &[Vec<usize>],
    mut take: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    let table = normalisation.table();
    let (sender, receiver) = sync_channel(BATCHES_AHEAD);
    std::thread::scope(|scope| {
        let table = &table;
        scope.spawn(move || draw_all(samples, table, epoch, batches, &sender));
        // The receiver ends with this closure, and with it the thread, whatever `take` says.
        receiver.into_iter().try_for_each(&mut take)
    })
}

fn draw_all(
    samples: &Samples,
    table: &[[f32; 256]; 3],
    epoch: u32,
    batches: &[Vec<usize>],
    sender: &SyncSender<Batch>,
) {
    for indices in batches {
        if sender.send(draw(samples, table, epoch, indices)).is_err() {
            return;
        }
    }
}

fn draw(samples: &Samples, table: &[[f32; 256]; 3], epoch: u32, indices: &[usize]) -> Batch {
    let (height, width) = (samples.height(), samples.width());
    let size = 3 * height * width;
    let mut images = vec![0.0; indices.len() * size]; // (batch, 3, height, width)
    let mut labels = vec![0; indices.len()];
    images.par_chunks_mut(size).zip(&mut labels).zip(indices).for_each_init(
        || vec![0; size],
        |pixels, ((image, label), index)| {
            *label = samples.draw(*index, epoch, pixels);
            Normalisation::apply(table, pixels, image);
        },
    );
    Batch { images, labels, height, width }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_every_sample_at_most_once_in_full_batches() {
        let batches = shuffled(100, 8, 1, 1);
        assert_eq!(batches.len(), 12);
        assert!(batches.iter().all(|b| b.len() == 8));
        let mut seen: Vec<_> = batches.concat();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 96);
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch_alone() {
        assert_eq!(shuffled(100, 8, 1, 1), shuffled(100, 8, 1, 1));
        assert_ne!(shuffled(100, 8, 1, 1), shuffled(100, 8, 1, 2));
        assert_ne!(shuffled(100, 8, 1, 1), shuffled(100, 8, 2, 1));
        assert_eq!(shuffled(100, 8, 1, 1).concat(), shuffled(100, 4, 1, 1).concat()[..96]);
    }

    #[test]
    fn in_order_nothing_is_left_out() {
        assert_eq!(in_order(5, 2), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(in_order(4, 2), [vec![0, 1], vec![2, 3]]);
    }
}
