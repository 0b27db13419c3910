//! The guard against leaks: a network is not judged by images that it learns from, unless somebody insists. It
//! knows images by their fingerprints; how these come about is known in the dataset folder.

use crate::augment::Samples;
use crate::engine::stage::{Job, StageError};
use crate::training::{Data, Overlap, Seen};

/// Says no to an overlap, or only says that there is one.
pub(super) struct Guard<'a> {
    pub(super) job: &'a dyn Job,
    /// What the stage's `allow_overlap` says.
    pub(super) allow: bool,
}

impl Guard<'_> {
    /// Checks that the validation data has nothing of the training data, nor of what the network learnt before; tells
    /// what it will have learnt from then.
    pub(super) fn check_validation(&self, data: &Data, before: &Seen) -> Result<Seen, StageError> {
        let seen = Seen::of(&data.train).with(before);
        if let Some(overlap) = seen.overlap(&data.val) {
            let twin = data.train.origins().iter().position(|origin| *origin == overlap.fingerprint);
            let whence = twin.map_or("the model has learnt from it before".to_owned(), |twin| {
                format!("it is of the same image as sample {twin} of `train`")
            });
            let remedy =
                "make `train` and `val` of two parts of a `split`, which keeps equal images together";
            self.tell("val", &data.val, &overlap, &format!(" ({whence})"), remedy)?;
        }
        Ok(seen)
    }

    /// Checks that images to be judged by are none that the model has learnt from.
    pub(super) fn check_images(&self, port: &str, images: &Samples, seen: &Seen) -> Result<(), StageError> {
        let Some(overlap) = seen.overlap(images) else { return Ok(()) };
        let remedy = "judge by others, such as a part of a `split` that no training gets";
        self.tell(port, images, &overlap, "", remedy)
    }

    fn tell(
        &self,
        port: &str,
        samples: &Samples,
        overlap: &Overlap,
        whence: &str,
        remedy: &str,
    ) -> Result<(), StageError> {
        let Overlap { shared, images, sample, fingerprint: _ } = *overlap;
        let class = samples.classes().get(usize::from(samples.label(sample)));
        let class = class.map_or(String::new(), |class| format!(", a `{class}`"));
        let found = format!(
            "{port}: {shared} of its {images} images are among those that the network learns from, such as that of \
             sample {sample}{class}{whence}"
        );
        if !self.allow {
            let insist = "set `allow_overlap: true` to go on all the same";
            return Err(StageError::message(format!("{found}; {remedy}, or {insist}")));
        }
        self.job.metric("overlap", shared as f64);
        self.job.log(&format!("warning: {found}; going on, as `allow_overlap` says"));
        Ok(())
    }
}
