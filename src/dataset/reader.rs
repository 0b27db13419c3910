//! A dataset artifact opened for reading: its shards memory-mapped, its images reached by number. It does
//! not know where artifacts lie; whoever opens one says where its files are.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::shard::Shard;
use super::{Error, Fingerprint, MANIFEST_FILE, Manifest, ORIGINS_FILE, UNLABELED};

/// Images and their labels, read-only.
pub struct Dataset {
    manifest: Manifest,
    shards: Vec<Shard>,
    /// For each shard the number of its first image.
    starts: Vec<usize>,
    /// What the images were drawn from, where the manifest says that they were.
    origins: Option<Vec<Fingerprint>>,
}

impl Dataset {
    /// Opens the artifact whose files `locate` finds by their names.
    ///
    /// # Errors
    /// If a file is missing, or is not what the manifest says it is.
    pub fn open(locate: impl Fn(&str) -> Option<PathBuf>) -> Result<Dataset, Error> {
        let find = |file: &str| locate(file).ok_or_else(|| Error::NoSuchFile { file: file.to_owned() });
        let json = fs::read(find(MANIFEST_FILE)?).map_err(|e| Error::io(MANIFEST_FILE, e))?;
        let manifest = Manifest::from_json(&json)?;
        let mut shards = Vec::with_capacity(manifest.shards.len());
        let mut starts = Vec::with_capacity(manifest.shards.len());
        let mut start = 0;
        for entry in &manifest.shards {
            let shard = Shard::open(&find(&entry.file)?, entry, &manifest)?;
            check_labels(shard.labels(), manifest.classes.len(), &entry.file)?;
            shards.push(shard);
            starts.push(start);
            start += entry.count;
        }
        let origins = match manifest.origins {
            Some(count) => Some(read_origins(&find(ORIGINS_FILE)?, count)?),
            None => None,
        };
        Ok(Dataset { manifest, shards, starts, origins })
    }

    /// What the dataset says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How many images there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.manifest.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.manifest.count == 0
    }

    /// The height of every image.
    #[must_use]
    pub fn height(&self) -> usize {
        self.manifest.height
    }

    /// The width of every image.
    #[must_use]
    pub fn width(&self) -> usize {
        self.manifest.width
    }

    /// The names of the classes.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.manifest.classes
    }

    /// The pixels of an image. // (3, height, width)
    ///
    /// # Panics
    /// If there is no such image.
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        let (shard, within) = self.place(index);
        let bytes = self.manifest.image_bytes();
        &shard.images()[within * bytes..][..bytes]
    }

    /// The label of an image; [`UNLABELED`] if it has none.
    ///
    /// # Panics
    /// If there is no such image.
    #[must_use]
    pub fn label(&self, index: usize) -> u8 {
        let (shard, within) = self.place(index);
        shard.labels()[within]
    }

    /// For each of the first `images` images the fingerprint of what it was drawn from, over however many
    /// augmentations; its own where nothing was drawn.
    ///
    /// # Panics
    /// If there are fewer images.
    #[must_use]
    pub fn origins(&self, images: usize) -> Vec<Fingerprint> {
        assert!(images <= self.len(), "{images} of {} images", self.len());
        match &self.origins {
            Some(origins) => origins.iter().copied().cycle().take(images).collect(),
            None => {
                let own = |image| Fingerprint::of(self.image(image), self.height(), self.width());
                (0..images).into_par_iter().map(own).collect()
            }
        }
    }

    /// The shard that holds an image, and the image's number inside it.
    fn place(&self, index: usize) -> (&Shard, usize) {
        assert!(index < self.len(), "image {index} of {}", self.len());
        let shard = self.starts.partition_point(|start| *start <= index) - 1;
        (&self.shards[shard], index - self.starts[shard])
    }
}

fn read_origins(path: &Path, count: usize) -> Result<Vec<Fingerprint>, Error> {
    let bytes = fs::read(path).map_err(|e| Error::io(ORIGINS_FILE, e))?;
    let origins = Fingerprint::from_safetensors(&bytes).map_err(|e| Error::malformed(ORIGINS_FILE, e))?;
    if origins.len() != count || origins.is_empty() {
        let problem = format!("{} fingerprints, where {MANIFEST_FILE} counts {count}", origins.len());
        return Err(Error::malformed(ORIGINS_FILE, problem));
    }
    Ok(origins)
}

/// Every label must name a class or be [`UNLABELED`].
fn check_labels(labels: &[u8], classes: usize, file: &str) -> Result<(), Error> {
    match labels.iter().position(|label| *label != UNLABELED && usize::from(*label) >= classes) {
        None => Ok(()),
        Some(image) => {
            let problem =
                format!("image {image} has the label {}, but there are {classes} classes", labels[image]);
            Err(Error::malformed(file, problem))
        }
    }
}
