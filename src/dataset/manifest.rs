//! `dataset.json`: what a dataset artifact holds and in which shards. It knows file names, not where the
//! files lie.

use serde::{Deserialize, Serialize};

use super::Error;

/// The name of the manifest inside a dataset artifact.
pub const MANIFEST_FILE: &str = "dataset.json";

/// The file with the fingerprints of the images that drawn images come from.
pub const ORIGINS_FILE: &str = "origins.safetensors";

/// How many images a shard holds; only the last one may hold fewer.
pub const SHARD_IMAGES: usize = 1000;

/// The content of `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// How many images the shards hold together.
    pub count: usize,
    /// The height of every image, in pixels.
    pub height: usize,
    /// The width of every image, in pixels.
    pub width: usize,
    /// The names of the classes; label `i` means the `i`-th.
    pub classes: Vec<String>,
    /// The shards, in the order of the images.
    pub shards: Vec<ShardEntry>,
    /// How samples are drawn from the images anew in each epoch; absent from a plain dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<serde_json::Value>,
    /// How many fingerprints [`ORIGINS_FILE`] holds, where the stored images were drawn from others: image `i` comes
    /// from the one of fingerprint `i` modulo their number. Absent where the images are nothing but themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<usize>,
}

/// One shard of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// The name of its file.
    pub file: String,
    /// How many images it holds.
    pub count: usize,
}

impl Manifest {
    /// The manifest of `count` images in shards of [`SHARD_IMAGES`], still without classes.
    #[must_use]
    pub fn of_images(count: usize, height: usize, width: usize) -> Manifest {
        let shards = (0..count.div_ceil(SHARD_IMAGES)).map(|number| ShardEntry {
            file: format!("images-{number:05}.safetensors"),
            count: SHARD_IMAGES.min(count - number * SHARD_IMAGES),
        });
        let (classes, shards) = (Vec::new(), shards.collect());
        Manifest { count, height, width, classes, shards, recipe: None, origins: None }
    }

    /// The bytes of one image.
    #[must_use]
    pub fn image_bytes(&self) -> usize {
        3 * self.height * self.width
    }

    /// The bytes of `dataset.json`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest has no maps with odd keys");
        json.push(b'\n');
        json
    }

    /// Reads the bytes of `dataset.json`.
    ///
    /// # Errors
    /// If they are no manifest, or one that contradicts itself.
    pub fn from_json(bytes: &[u8]) -> Result<Manifest, Error> {
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|e| Error::malformed(MANIFEST_FILE, e.to_string()))?;
        let in_shards = manifest.shards.iter().try_fold(0usize, |sum, shard| sum.checked_add(shard.count));
        if in_shards != Some(manifest.count) {
            let problem =
                format!("it counts {} images, but its shards do not add up to that", manifest.count);
            return Err(Error::malformed(MANIFEST_FILE, problem));
        }
        let bytes = manifest.height.checked_mul(manifest.width).and_then(|pixels| pixels.checked_mul(3));
        if bytes.is_none_or(|bytes| bytes == 0) {
            return Err(Error::malformed(MANIFEST_FILE, "its images have no pixels, or too many"));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_being_written_and_read() {
        let mut manifest = Manifest::of_images(2500, 96, 80);
        manifest.classes = vec!["disc".to_owned(), "ring".to_owned()];
        assert_eq!(Manifest::from_json(&manifest.to_json()).expect("reads"), manifest);
        manifest.recipe = Some(serde_json::json!({ "samples": 10 }));
        manifest.origins = Some(100);
        assert_eq!(Manifest::from_json(&manifest.to_json()).expect("reads"), manifest);
    }

    #[test]
    fn only_the_last_shard_is_partial() {
        let counts = |n| Manifest::of_images(n, 1, 1).shards.iter().map(|s| s.count).collect::<Vec<_>>();
        assert_eq!(counts(2500), [1000, 1000, 500]);
        assert_eq!(counts(2000), [1000, 1000]);
        assert_eq!(counts(0), [0; 0]);
    }

    #[test]
    fn counts_that_contradict_each_other_are_refused() {
        let mut manifest = Manifest::of_images(1500, 96, 96);
        manifest.count = 1501;
        let error = Manifest::from_json(&manifest.to_json()).expect_err("refuses");
        assert!(error.to_string().starts_with("dataset.json: it counts 1501 images"), "{error}");
    }
}
