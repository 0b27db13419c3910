//! Reads an STL-10 archive as one stream, front to back, without unpacking it to disk: images are turned to
//! row-major order and handed on in blocks, labels are checked and handed on with the first class as 0. The
//! members may come in any order. What becomes of the images is the visitor's business.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path};

use flate2::bufread::MultiGzDecoder;
use rayon::prelude::*;
use tar::{Archive, EntryType};

use super::{CLASSES, IMAGE_BYTES, Member, Part, transpose};
use crate::dataset::{ArchiveProblem, Error, UNLABELED};

/// How many images are handed on at a time.
const BLOCK_IMAGES: usize = 32;

/// More bytes than this in one member are a mistake in its header, not images.
const LARGEST_IMAGES: u64 = 1 << 40;

/// The same for labels and class names, which are held in memory.
const LARGEST_TEXT: u64 = 1 << 26;

/// Who receives what an archive holds.
pub trait Visitor {
    /// Why it cannot receive more.
    type Error: From<Error>;

    /// The images of a part come next, so many.
    ///
    /// # Errors
    /// Ends the reading.
    fn begin(&mut self, part: Part, count: usize) -> Result<(), Self::Error>;

    /// The next images of a part, row-major. // (images, 3, height, width)
    ///
    /// # Errors
    /// Ends the reading.
    fn images(&mut self, part: Part, pixels: &[u8]) -> Result<(), Self::Error>;

    /// All labels of a part, 0 to 9 or [`UNLABELED`]; they may come before the images or after them.
    ///
    /// # Errors
    /// Ends the reading.
    fn labels(&mut self, part: Part, labels: &[u8]) -> Result<(), Self::Error>;

    /// Called every few hundred kilobytes, so that the visitor can stop.
    ///
    /// # Errors
    /// Ends the reading.
    fn pause_point(&mut self) -> Result<(), Self::Error>;
}

/// Reads the given parts of an archive, and passes over the others. Returns the names of the classes.
///
/// # Errors
/// If the archive is damaged or is not what STL-10 looks like, or if the visitor ends the reading.
pub fn read<V: Visitor>(
    archive: impl Read,
    parts: &[Part],
    visitor: &mut V,
) -> Result<Vec<String>, V::Error> {
    let mut archive = BufReader::with_capacity(1 << 16, archive);
    let start = archive.fill_buf().map_err(|e| Error::archive("archive", ArchiveProblem::Unreadable(e)))?;
    if !start.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::archive("archive", ArchiveProblem::NotGzip).into());
    }
    let mut tar = Archive::new(MultiGzDecoder::new(archive));
    let mut progress =
        Reading { parts, visitor, counts: BTreeMap::new(), seen: BTreeSet::new(), classes: vec![] };
    let broken = |e: io::Error, members: usize| {
        Error::archive("archive", cut_off_or_unreadable(Some(e), members as u64, "members"))
    };
    let mut members = 0;
    for entry in tar.entries().map_err(|e| broken(e, 0))? {
        let mut entry = entry.map_err(|e| broken(e, members))?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        check_entry(&path, entry.header().entry_type())?;
        let size = entry.size();
        progress.member(&path, size, &mut entry)?;
        members += 1;
    }
    // The checksum of the gzip stream stands at its end.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(|e| broken(e, members))?;
    progress.finish()
}

/// What has been read so far.
struct Reading<'a, V> {
    parts: &'a [Part],
    visitor: &'a mut V,
    counts: BTreeMap<Part, Counts>,
    seen: BTreeSet<Member>,
    classes: Vec<String>,
}

/// How much of a part has been read.
#[derive(Default, Clone, Copy)]
struct Counts {
    images: Option<usize>,
    labels: Option<usize>,
}

impl<V: Visitor> Reading<'_, V> {
    /// Reads one member, whatever it is.
    fn member(&mut self, path: &str, size: u64, bytes: &mut impl Read) -> Result<(), V::Error> {
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        let Some(member) = name.and_then(Member::with_file_name) else {
            return self.skip(path, size, bytes);
        };
        if !self.seen.insert(member) {
            return Err(Error::archive(path, ArchiveProblem::Duplicate).into());
        }
        match member {
            Member::Images(part) if self.parts.contains(&part) => self.images(part, path, size, bytes),
            Member::Labels(part) if self.parts.contains(&part) => self.labels(part, path, size, bytes),
            Member::ClassNames => self.class_names(path, size, bytes),
            Member::Images(_) | Member::Labels(_) => self.skip(path, size, bytes),
        }
    }

    fn images(&mut self, part: Part, path: &str, size: u64, bytes: &mut impl Read) -> Result<(), V::Error> {
        if !size.is_multiple_of(IMAGE_BYTES as u64) {
            let problem = ArchiveProblem::OddSize { bytes: size, image_bytes: IMAGE_BYTES };
            return Err(Error::archive(path, problem).into());
        }
        check_size(path, size, LARGEST_IMAGES)?;
        let count = (size / IMAGE_BYTES as u64) as usize;
        self.counts.entry(part).or_default().images = Some(count);
        self.check_counts(part, path)?;
        self.visitor.begin(part, count)?;
        let mut next = vec![0; BLOCK_IMAGES * IMAGE_BYTES];
        let (mut columns, mut rows) = (next.clone(), next.clone());
        let (mut done, mut length) = (0, 0);
        // While a block is turned, the next one is read.
        while done < count {
            let following = BLOCK_IMAGES.min(count - done - length / IMAGE_BYTES) * IMAGE_BYTES;
            let (now, turned) = (&columns[..length], &mut rows[..length]);
            let read = rayon::in_place_scope(|scope| {
                scope.spawn(|_| turn(now, turned));
                fill(bytes, &mut next[..following])
            });
            if length > 0 {
                self.visitor.images(part, &rows[..length])?;
                self.visitor.pause_point()?;
            }
            done += length / IMAGE_BYTES;
            read.map_err(|(read, e)| {
                let whole = done + read / IMAGE_BYTES;
                Error::archive(path, cut_off_or_unreadable(e, whole as u64, "images"))
            })?;
            std::mem::swap(&mut columns, &mut next);
            length = following;
        }
        if part == Part::Unlabeled {
            self.visitor.labels(part, &vec![UNLABELED; count])?;
        }
        Ok(())
    }

    fn labels(&mut self, part: Part, path: &str, size: u64, bytes: &mut impl Read) -> Result<(), V::Error> {
        let mut labels = read_small(path, size, bytes)?;
        if let Some(image) = labels.iter().position(|label| !(1..=CLASSES as u8).contains(label)) {
            let problem = ArchiveProblem::BadLabel { image, label: labels[image] };
            return Err(Error::archive(path, problem).into());
        }
        self.counts.entry(part).or_default().labels = Some(labels.len());
        self.check_counts(part, path)?;
        for label in &mut labels {
            *label -= 1;
        }
        self.visitor.labels(part, &labels)
    }

    fn class_names(&mut self, path: &str, size: u64, bytes: &mut impl Read) -> Result<(), V::Error> {
        let text = read_small(path, size, bytes)?;
        let text = String::from_utf8_lossy(&text);
        self.classes = text.split_whitespace().map(str::to_owned).collect();
        if self.classes.len() == CLASSES {
            Ok(())
        } else {
            Err(Error::archive(path, ArchiveProblem::ClassCount(self.classes.len())).into())
        }
    }

    fn skip(&mut self, path: &str, size: u64, bytes: &mut impl Read) -> Result<(), V::Error> {
        let mut buffer = vec![0; 1 << 16];
        let mut left = size;
        while left > 0 {
            let length = left.min(buffer.len() as u64) as usize;
            fill(bytes, &mut buffer[..length]).map_err(|(read, e)| {
                let whole = size - left + read as u64;
                Error::archive(path, cut_off_or_unreadable(e, whole, "bytes"))
            })?;
            self.visitor.pause_point()?;
            left -= length as u64;
        }
        Ok(())
    }

    /// Complains, once both are known, if a part has more images than labels or fewer.
    fn check_counts(&self, part: Part, path: &str) -> Result<(), Error> {
        match self.counts[&part] {
            Counts { images: Some(images), labels: Some(labels) } if images != labels => {
                Err(Error::archive(path, ArchiveProblem::CountMismatch { images, labels }))
            }
            _ => Ok(()),
        }
    }

    /// Complains if something is missing at the end.
    fn finish(self) -> Result<Vec<String>, V::Error> {
        let needed = Member::ALL.into_iter().filter(|member| match member {
            Member::Images(part) | Member::Labels(part) => self.parts.contains(part),
            Member::ClassNames => true,
        });
        let missing: Vec<_> =
            needed.filter(|member| !self.seen.contains(member)).map(Member::file_name).collect();
        if missing.is_empty() {
            Ok(self.classes)
        } else {
            Err(Error::archive("archive", ArchiveProblem::Missing(missing)).into())
        }
    }
}

/// Refuses what is no plain file or directory, and what would land elsewhere.
fn check_entry(path: &str, entry_type: EntryType) -> Result<(), Error> {
    let kind = match entry_type {
        EntryType::Regular | EntryType::Continuous | EntryType::Directory | EntryType::XGlobalHeader => None,
        EntryType::Link => Some("hard link"),
        EntryType::Symlink => Some("symbolic link"),
        EntryType::Char | EntryType::Block => Some("device"),
        EntryType::Fifo => Some("named pipe"),
        _ => Some("special file"),
    };
    if let Some(kind) = kind {
        return Err(Error::archive(path, ArchiveProblem::NotAFile { kind }));
    }
    let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(path).components().all(stays) {
        Ok(())
    } else {
        Err(Error::archive(path, ArchiveProblem::Escapes))
    }
}

fn check_size(path: &str, bytes: u64, limit: u64) -> Result<(), Error> {
    if bytes > limit { Err(Error::archive(path, ArchiveProblem::TooLarge { bytes, limit })) } else { Ok(()) }
}

/// Reads a member that fits into memory.
fn read_small(path: &str, size: u64, bytes: &mut impl Read) -> Result<Vec<u8>, Error> {
    check_size(path, size, LARGEST_TEXT)?;
    let mut content = vec![0; size as usize];
    fill(bytes, &mut content)
        .map_err(|(read, e)| Error::archive(path, cut_off_or_unreadable(e, read as u64, "bytes")))?;
    Ok(content)
}

/// Turns images from columns to rows.
fn turn(columns: &[u8], rows: &mut [u8]) {
    let images = columns.par_chunks_exact(IMAGE_BYTES).zip(rows.par_chunks_exact_mut(IMAGE_BYTES));
    images.for_each(|(image, rows)| transpose(image, rows));
}

/// Fills the buffer, or tells how many bytes there were before the end or the error.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), (usize, Option<io::Error>)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => return Err((filled, None)),
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((filled, Some(e))),
        }
    }
    Ok(())
}

fn cut_off_or_unreadable(error: Option<io::Error>, whole: u64, unit: &'static str) -> ArchiveProblem {
    match error {
        Some(e) if e.kind() != io::ErrorKind::UnexpectedEof => ArchiveProblem::Unreadable(e),
        _ => ArchiveProblem::Truncated { whole, unit },
    }
}
