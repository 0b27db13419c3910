//! A shard: a safetensors file of two tensors, `images` u8 (count, 3, height, width) and after it `labels`
//! u8 (count). Written as a stream and read through a memory map; it does not know its neighbours.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

use super::{Error, Manifest, ShardEntry};

/// Writes one shard front to back; the labels, which stand last, need not be known before the end.
pub(super) struct ShardWriter<W> {
    out: W,
}

impl<W: Write> ShardWriter<W> {
    /// Writes the header of a shard of `count` images.
    pub(super) fn begin(mut out: W, count: usize, height: usize, width: usize) -> io::Result<Self> {
        let end = count * 3 * height * width;
        let header = json!({
            "images": { "dtype": "U8", "shape": [count, 3, height, width], "data_offsets": [0, end] },
            "labels": { "dtype": "U8", "shape": [count], "data_offsets": [end, end + count] },
        });
        // Readers expect the data to start at a multiple of eight bytes.
        let mut header = header.to_string();
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        Ok(ShardWriter { out })
    }

    /// Adds the next images, row-major.
    pub(super) fn images(&mut self, pixels: &[u8]) -> io::Result<()> {
        self.out.write_all(pixels)
    }

    /// Adds the labels of all images, and hands the file back to be closed.
    pub(super) fn finish(mut self, labels: &[u8]) -> io::Result<W> {
        self.out.write_all(labels)?;
        Ok(self.out)
    }
}

/// One shard, memory-mapped.
pub(super) struct Shard {
    map: Mmap,
    images: Range<usize>,
    labels: Range<usize>,
}

impl Shard {
    /// Maps a shard and checks that it is what the manifest says.
    pub(super) fn open(path: &Path, entry: &ShardEntry, manifest: &Manifest) -> Result<Shard, Error> {
        let file = File::open(path).map_err(|e| Error::io(&entry.file, e))?;
        // SAFETY: the bytes stay as they are while mapped, because files of an artifact are read-only and are
        // replaced, never rewritten; what somebody tampers with meanwhile gives wrong pixels at worst, as
        // nothing but plain bytes is read from the map after the checks below.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(&entry.file, e))?;
        let tensors =
            SafeTensors::deserialize(&map).map_err(|e| Error::malformed(&entry.file, e.to_string()))?;
        let shape = [entry.count, 3, manifest.height, manifest.width];
        let images = range_of(&tensors, "images", &shape, &map, &entry.file)?;
        let labels = range_of(&tensors, "labels", &shape[..1], &map, &entry.file)?;
        Ok(Shard { images, labels, map })
    }

    /// The pixels of all images.
    pub(super) fn images(&self) -> &[u8] {
        &self.map[self.images.clone()]
    }

    /// The labels of all images.
    pub(super) fn labels(&self) -> &[u8] {
        &self.map[self.labels.clone()]
    }
}

/// Where in the mapped file a tensor's bytes are.
fn range_of(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
    map: &Mmap,
    file: &str,
) -> Result<Range<usize>, Error> {
    let tensor = tensors.tensor(name).map_err(|e| Error::malformed(file, e.to_string()))?;
    if tensor.dtype() != Dtype::U8 || tensor.shape() != shape {
        let problem = format!("{name} is {:?} {:?}, not U8 {shape:?}", tensor.dtype(), tensor.shape());
        return Err(Error::malformed(file, problem));
    }
    let start = tensor.data().as_ptr() as usize - map.as_ptr() as usize;
    Ok(start..start + tensor.data().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of_two() -> Vec<u8> {
        let mut writer = ShardWriter::begin(Vec::new(), 2, 1, 2).expect("writes");
        writer.images(&[1, 2, 3, 4, 5, 6]).expect("writes");
        writer.images(&[7, 8, 9, 10, 11, 12]).expect("writes");
        writer.finish(&[3, 4]).expect("writes")
    }

    fn open(bytes: &[u8], count: usize) -> Result<Shard, Error> {
        let dir = tempfile::tempdir().expect("tests have a temporary directory");
        let path = dir.path().join("shard");
        std::fs::write(&path, bytes).expect("writes");
        let manifest = Manifest::of_images(count, 1, 2);
        Shard::open(&path, &manifest.shards[0], &manifest)
    }

    #[test]
    fn what_is_written_is_read() {
        let shard = open(&shard_of_two(), 2).expect("opens");
        assert_eq!(shard.images(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(shard.labels(), [3, 4]);
    }

    #[test]
    fn a_shard_that_is_cut_off_or_of_another_shape_is_refused() {
        let bytes = shard_of_two();
        assert!(open(&bytes[..bytes.len() - 1], 2).is_err());
        let error = open(&bytes, 3).err().expect("refuses");
        assert_eq!(
            error.to_string(),
            "images-00000.safetensors: images is U8 [2, 3, 1, 2], not U8 [3, 3, 1, 2]"
        );
    }

    #[test]
    fn the_data_is_aligned_for_other_readers() {
        let bytes = shard_of_two();
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        assert_eq!(header % 8, 0);
    }
}
