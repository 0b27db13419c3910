//! The ends of epochs that a training keeps along its chain, and from which of them another one goes on. How to
//! train is known elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use super::learn::device;
use crate::engine::stage::{Growth, InputFile, Job, StageError};
use crate::nn::Architecture;
use crate::training::{Checkpoint, Options};

/// The parameters that only say where a training ends.
const FREE: [&str; 2] = ["epochs", "patience"];
/// The parameter that says how much is kept.
const CHECKPOINTS: &str = "checkpoints";

/// How a training grows.
pub(super) fn growth(options: &Options) -> Growth {
    let bound = options.depends_on_epochs().then_some("a cosine schedule depends on the number of epochs");
    let free: &[&str] = if bound.is_some() { &[] } else { &FREE };
    Growth { by: "epochs", length: options.epochs.into(), free, bound }
}

/// The parameters without that which changes no result.
pub(super) fn without(mut params: Value) -> Value {
    params.as_object_mut().expect("parameters have names").remove(CHECKPOINTS);
    params
}

/// The ends of epochs of one chain.
pub(super) struct Checkpoints<'a> {
    pub(super) job: &'a dyn Job,
    pub(super) options: &'a Options,
    /// How many to keep besides the last.
    pub(super) keep: u32,
}

impl Checkpoints<'_> {
    /// The last end of an epoch that this training passes and that is kept whole.
    pub(super) fn latest(&self, architecture: &Architecture) -> Result<Option<Checkpoint>, StageError> {
        let Checkpoints { job, options, keep: _ } = self;
        for position in job.kept()?.into_iter().rev().filter(|end| *end <= options.epochs.into()) {
            let Some(files) = job.link(position) else {
                job.log(&format!("what was kept after epoch {position} is damaged, and not used"));
                continue;
            };
            match Checkpoint::from_files(architecture, options, device(*job), |file| read(&files, file)) {
                // Less patience would have ended there before.
                Ok(saved) if saved.is_passed_by(options) => return Ok(Some(saved)),
                Ok(_) => {}
                Err(error) => {
                    job.log(&format!("what was kept after epoch {position} cannot be read: {error}"));
                }
            }
        }
        Ok(None)
    }

    /// Keeps the end of an epoch, and gives up those that are no longer needed.
    pub(super) fn keep(&self, checkpoint: &Checkpoint) -> Result<(), StageError> {
        let position = u64::from(checkpoint.epochs());
        let mut files = checkpoint.files();
        files.push(checkpoint.times_file());
        self.job.keep(position, &files)?;
        let kept = self.job.kept()?;
        let last = kept.last().copied().unwrap_or(position);
        for other in kept {
            if other != position && other != last && !is_kept(other, last, self.keep) {
                self.job.forget(other)?;
            }
        }
        Ok(())
    }

    /// Where the last kept end of an epoch lies.
    pub(super) fn place(&self) -> Option<PathBuf> {
        let last = *self.job.kept().ok()?.last()?;
        let files = self.job.link(last)?;
        Some(files.values().next()?.path.parent()?.to_owned())
    }
}

fn read(files: &BTreeMap<String, InputFile>, file: &str) -> io::Result<Vec<u8>> {
    files.get(file).map_or_else(|| Err(io::ErrorKind::NotFound.into()), |file| fs::read(&file.path))
}

/// Whether a position is one of `keep` that are spread evenly as far as `last`: the multiples of the smallest power
/// of two of which there are not more, or of half of it if `last` alone is one. Powers of two, so that those of a longer
/// way are among those of a shorter one.
fn is_kept(position: u64, last: u64, keep: u32) -> bool {
    let step = (0..64).map(|power| 1u64 << power).find(|step| last / step <= keep.into());
    // The last is kept in any case, and so does not count as the only one.
    let step = step.map(|step| if step == last { step.div_ceil(2) } else { step });
    step.is_some_and(|step| position.is_multiple_of(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_are_spread_evenly_and_not_more_than_asked_for() {
        let kept = |last, keep| (1..=last).filter(|p| is_kept(*p, last, keep)).collect::<Vec<u64>>();
        assert_eq!(kept(7, 10), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(kept(20, 10), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
        assert_eq!(kept(500, 10), [64, 128, 192, 256, 320, 384, 448]);
        assert_eq!(kept(499, 1), [256]);
        assert_eq!(
            (kept(4, 1), kept(5, 1), kept(2, 1), kept(1, 1)),
            (vec![2, 4], vec![4], vec![1, 2], vec![1])
        );
        assert_eq!(kept(9, 0), [0; 0]);
        for last in 1..300 {
            for keep in [1, 3, 10] {
                let (now, then) = (kept(last, keep), kept(last + 1, keep));
                let besides = now.iter().filter(|p| **p != last).count();
                assert!((usize::from(last > 1)..=keep as usize).contains(&besides), "{now:?} of {last}");
                assert!(keep == 1 || now.len() <= keep as usize, "the last counts: {now:?}");
                assert!(then.iter().all(|p| *p > last || now.contains(p)), "only kept ones are needed later");
            }
        }
    }
}
