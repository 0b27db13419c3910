//! Writes an archive in the STL-10 binary format from row-major images and labels that start at 0. The same
//! content gives the same bytes: no clock, user or file system leaves a trace.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::{IMAGE_BYTES, Member, Part, transpose};

const BLOCK: usize = 512;

/// An archive being written, member by member, as a stream.
pub struct ArchiveWriter<W: Write> {
    gzip: GzEncoder<W>,
    /// Bytes that the current member still lacks.
    missing: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// Starts an archive.
    pub fn new(out: W) -> ArchiveWriter<W> {
        let gzip = GzBuilder::new().mtime(0).write(out, Compression::fast());
        ArchiveWriter { gzip, missing: 0 }
    }

    /// Starts the images of a part; [`ArchiveWriter::image`] follows `count` times.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn begin_images(&mut self, part: Part, count: usize) -> io::Result<()> {
        self.begin(Member::Images(part), (count * IMAGE_BYTES) as u64)
    }

    /// Adds one image. // (3, height, width)
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn image(&mut self, pixels: &[u8]) -> io::Result<()> {
        assert_eq!(pixels.len(), IMAGE_BYTES, "images are 96x96");
        let mut columns = [0; IMAGE_BYTES];
        transpose(pixels, &mut columns);
        self.write(&columns)
    }

    /// Adds all labels of a part.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn labels(&mut self, part: Part, labels: &[u8]) -> io::Result<()> {
        self.begin(Member::Labels(part), labels.len() as u64)?;
        self.write(&labels.iter().map(|label| label + 1).collect::<Vec<_>>())
    }

    /// Adds the names of the classes.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn class_names(&mut self, names: &[&str]) -> io::Result<()> {
        let text = names.join("\n") + "\n";
        self.begin(Member::ClassNames, text.len() as u64)?;
        self.write(text.as_bytes())
    }

    /// Ends the archive and hands `out` back.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        assert_eq!(self.missing, 0, "the last member is complete");
        self.gzip.write_all(&[0; 2 * BLOCK])?;
        self.gzip.finish()
    }

    fn begin(&mut self, member: Member, size: u64) -> io::Result<()> {
        assert_eq!(self.missing, 0, "the member before is complete");
        let mut header = Header::new_ustar();
        header.set_path(format!("stl10_binary/{}", member.file_name()))?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        self.missing = size;
        self.gzip.write_all(header.as_bytes())
    }

    /// Writes a piece of the current member, and after the last piece fills the block with zeros.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.gzip.write_all(bytes)?;
        self.missing -= bytes.len() as u64;
        if self.missing == 0 {
            // Whole images fill whole blocks, so the last piece alone decides the padding.
            let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
            self.gzip.write_all(&[0; BLOCK][..padding])?;
        }
        Ok(())
    }
}

const _: () = assert!(IMAGE_BYTES.is_multiple_of(BLOCK), "whole images fill whole blocks");
