//! Writes a dataset artifact shard by shard while its images and labels come in, in whatever order they come,
//! holding no more than the labels in memory. It does not know where the files go.

use std::collections::VecDeque;
use std::io::Write;
use std::ops::Range;

use super::shard::ShardWriter;
use super::{Error, Fingerprint, MANIFEST_FILE, Manifest, ORIGINS_FILE};

/// Where the files of a dataset go.
pub trait Destination {
    /// A file being written.
    type File: Write;
    /// Why a file could not be written.
    type Error: From<Error>;

    /// Starts a file.
    ///
    /// # Errors
    /// If it cannot be made.
    fn create(&self, file: &str) -> Result<Self::File, Self::Error>;

    /// Closes a file for good.
    ///
    /// # Errors
    /// If it cannot be made durable.
    fn finish(&self, file: Self::File) -> Result<(), Self::Error>;
}

/// A dataset being written. A shard stays open until both its images and its labels are there.
pub struct DatasetWriter<D: Destination> {
    destination: D,
    manifest: Manifest,
    labels: Vec<u8>,
    images_written: usize,
    /// The number of the first shard that has not been started.
    next_shard: usize,
    unfinished: VecDeque<Unfinished<D::File>>,
}

/// A shard that lacks images or labels.
struct Unfinished<F> {
    file: String,
    images: Range<usize>,
    writer: ShardWriter<F>,
}

impl<D: Destination> DatasetWriter<D> {
    /// Starts a dataset of `count` images.
    pub fn new(destination: D, count: usize, height: usize, width: usize) -> DatasetWriter<D> {
        DatasetWriter {
            destination,
            manifest: Manifest::of_images(count, height, width),
            labels: Vec::new(),
            images_written: 0,
            next_shard: 0,
            unfinished: VecDeque::new(),
        }
    }

    /// Adds any number of whole images.
    ///
    /// # Errors
    /// If the destination cannot be written.
    ///
    /// # Panics
    /// If there are more images than announced, or parts of images.
    pub fn images(&mut self, mut pixels: &[u8]) -> Result<(), D::Error> {
        let image_bytes = self.manifest.image_bytes();
        assert_eq!(pixels.len() % image_bytes, 0, "images come whole");
        while !pixels.is_empty() {
            if self.unfinished.back().is_none_or(|shard| shard.images.end == self.images_written) {
                self.start_shard()?;
            }
            let shard = self.unfinished.back_mut().expect("a shard with room was just made sure of");
            let room = (shard.images.end - self.images_written) * image_bytes;
            let (now, later) = pixels.split_at(room.min(pixels.len()));
            shard.writer.images(now).map_err(|e| Error::io(&shard.file, e))?;
            self.images_written += now.len() / image_bytes;
            pixels = later;
            self.finish_shards()?;
        }
        Ok(())
    }

    /// Passes over the next images and their labels: they lie at the destination already, in whole shards.
    ///
    /// # Panics
    /// If the images are not those of whole shards, or more than announced.
    pub fn skip_shards(&mut self, shards: usize) {
        assert!(shards == 0 || self.unfinished.is_empty(), "what was started is finished first");
        let skipped = &self.manifest.shards[self.next_shard..self.next_shard + shards];
        self.images_written += skipped.iter().map(|shard| shard.count).sum::<usize>();
        self.labels.resize(self.images_written, 0);
        self.next_shard += shards;
    }

    /// Adds the labels of the next images, which may have come already or are still to come.
    ///
    /// # Errors
    /// If the destination cannot be written.
    pub fn labels(&mut self, labels: &[u8]) -> Result<(), D::Error> {
        self.labels.extend_from_slice(labels);
        self.finish_shards()
    }

    /// Writes the manifest, and tells what it says.
    ///
    /// # Errors
    /// If the destination cannot be written.
    ///
    /// # Panics
    /// If images or labels are missing.
    pub fn finish(mut self, classes: Vec<String>) -> Result<Manifest, D::Error> {
        let complete = self.images_written == self.manifest.count && self.labels.len() == self.manifest.count;
        assert!(complete, "all images and labels come before the end");
        self.manifest.classes = classes;
        self.whole_file(MANIFEST_FILE, &self.manifest.to_json())?;
        Ok(self.manifest)
    }

    /// Says what the images were drawn from: image `i` from the one of fingerprint `i` modulo their number.
    ///
    /// # Errors
    /// If the destination cannot be written.
    pub fn origins(&mut self, origins: &[Fingerprint]) -> Result<(), D::Error> {
        self.manifest.origins = Some(origins.len());
        self.whole_file(ORIGINS_FILE, &Fingerprint::to_safetensors(origins))
    }

    fn whole_file(&self, name: &str, bytes: &[u8]) -> Result<(), D::Error> {
        let mut file = self.destination.create(name)?;
        file.write_all(bytes).map_err(|e| Error::io(name, e))?;
        self.destination.finish(file)
    }

    fn start_shard(&mut self) -> Result<(), D::Error> {
        let entry = self.manifest.shards.get(self.next_shard).expect("no more images than announced");
        let file = self.destination.create(&entry.file)?;
        let writer = ShardWriter::begin(file, entry.count, self.manifest.height, self.manifest.width)
            .map_err(|e| Error::io(&entry.file, e))?;
        let images = self.images_written..self.images_written + entry.count;
        self.unfinished.push_back(Unfinished { file: entry.file.clone(), images, writer });
        self.next_shard += 1;
        Ok(())
    }

    fn finish_shards(&mut self) -> Result<(), D::Error> {
        let whole = self.images_written.min(self.labels.len());
        while let Some(shard) = self.unfinished.pop_front_if(|shard| shard.images.end <= whole) {
            let file =
                shard.writer.finish(&self.labels[shard.images]).map_err(|e| Error::io(&shard.file, e))?;
            self.destination.finish(file)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::File;
    use std::path::PathBuf;

    use super::*;
    use crate::dataset::{Dataset, SHARD_IMAGES};

    /// A directory on the disk.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Destination for Folder {
        type File = File;
        type Error = Error;

        fn create(&self, file: &str) -> Result<File, Error> {
            File::create(self.0.join(file)).map_err(|e| Error::io(file, e))
        }

        fn finish(&self, _: File) -> Result<(), Error> {
            Ok(())
        }
    }

    /// A dataset of tiny images with the given labels, every pixel of image `i` being `i` modulo 251.
    pub(crate) fn numbered_dataset(
        labels: &[u8],
        height: usize,
        width: usize,
    ) -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().expect("tests have a temporary directory");
        let mut writer = DatasetWriter::new(Folder(dir.path().into()), labels.len(), height, width);
        for i in 0..labels.len() {
            writer.images(&vec![(i % 251) as u8; 3 * height * width]).expect("writes");
        }
        writer.labels(labels).expect("writes");
        writer.finish((0..10).map(|class| format!("class {class}")).collect()).expect("writes");
        let dataset = Dataset::open(|file| Some(dir.path().join(file))).expect("opens");
        (dir, dataset)
    }

    #[test]
    fn images_and_labels_come_back_by_number_across_shards() {
        let labels: Vec<u8> = (0..2500).map(|i| (i % 10) as u8).collect();
        let (_dir, dataset) = numbered_dataset(&labels, 2, 3);
        assert_eq!((dataset.len(), dataset.height(), dataset.width()), (2500, 2, 3));
        assert_eq!(dataset.manifest().shards.len(), 3);
        for i in [0, 1, 999, 1000, 1001, 2499] {
            assert_eq!(dataset.image(i), [(i % 251) as u8; 18]);
            assert_eq!(usize::from(dataset.label(i)), i % 10);
        }
    }

    #[test]
    fn the_order_in_which_images_and_labels_come_changes_no_byte() {
        let count = SHARD_IMAGES + 7;
        let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
        let pixels: Vec<u8> = (0..count * 3).map(|i| (i % 253) as u8).collect();
        let write = |labels_first: bool, at_once: usize| {
            let dir = tempfile::tempdir().expect("tests have a temporary directory");
            let mut writer = DatasetWriter::new(Folder(dir.path().into()), count, 1, 1);
            if labels_first {
                writer.labels(&labels).expect("writes");
            }
            for some in pixels.chunks(at_once * 3) {
                writer.images(some).expect("writes");
            }
            if !labels_first {
                writer.labels(&labels).expect("writes");
            }
            let manifest = writer.finish(vec!["one".to_owned(); 10]).expect("writes");
            let files = manifest.shards.iter().map(|shard| shard.file.as_str()).chain([MANIFEST_FILE]);
            files.map(|file| std::fs::read(dir.path().join(file)).expect("reads")).collect::<Vec<_>>()
        };
        let one_by_one = write(true, 1);
        assert_eq!(one_by_one, write(false, 1));
        assert_eq!(one_by_one, write(false, count));
        assert_eq!(one_by_one, write(true, 300));
    }

    #[test]
    fn a_shard_that_is_there_already_is_passed_over() {
        let write = |skip: bool, dir: &std::path::Path| {
            let mut writer = DatasetWriter::new(Folder(dir.into()), 2500, 1, 1);
            for shard in 0..3u8 {
                let count = if shard == 2 { 500 } else { 1000 };
                if skip && shard == 1 {
                    writer.skip_shards(1);
                } else {
                    writer.images(&vec![shard; 3 * count]).expect("writes");
                    writer.labels(&vec![shard; count]).expect("writes");
                }
            }
            writer.finish(vec!["one".to_owned(); 10]).expect("writes")
        };
        let (whole, other) = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory")).into();
        assert_eq!(write(false, whole.path()), write(true, other.path()));
        let read = |dir: &tempfile::TempDir, shard: u8| {
            std::fs::read(dir.path().join(format!("images-0000{shard}.safetensors")))
        };
        assert!(read(&other, 1).is_err());
        assert_eq!(read(&whole, 2).expect("written"), read(&other, 2).expect("written"));
    }

    #[test]
    fn a_label_without_a_class_is_refused() {
        let dir = tempfile::tempdir().expect("tests have a temporary directory");
        let mut writer = DatasetWriter::new(Folder(dir.path().into()), 2, 1, 1);
        writer.images(&[0; 6]).expect("writes");
        writer.labels(&[0, 10]).expect("writes");
        writer.finish(vec!["one".to_owned(); 10]).expect("writes");
        let error = Dataset::open(|file| Some(dir.path().join(file))).err().expect("refuses");
        assert_eq!(
            error.to_string(),
            "images-00000.safetensors: image 1 has the label 10, but there are 10 classes"
        );
    }
}
