//! What can be wrong with images and labels on disk. Messages have the place first, so that whoever reads
//! one knows which file or archive member to look at.

use std::io;

use super::stl10::CLASSES;

/// Why a dataset or an archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file the dataset names, or its manifest, is not there.
    #[error("{file}: the dataset has no such file")]
    NoSuchFile {
        /// The file's name.
        file: String,
    },
    /// A file of the dataset contradicts itself or the manifest.
    #[error("{file}: {problem}")]
    Malformed {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The disk failed.
    #[error("{file}: {source}")]
    Io {
        /// The file's name.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The archive is not what STL-10 looks like.
    #[error("{place}: {problem}")]
    Archive {
        /// The archive member, or `archive` for the whole.
        place: String,
        /// What is wrong there.
        problem: ArchiveProblem,
    },
}

impl Error {
    pub(super) fn malformed(file: &str, problem: impl Into<String>) -> Error {
        Error::Malformed { file: file.to_owned(), problem: problem.into() }
    }

    pub(super) fn io(file: &str, source: io::Error) -> Error {
        Error::Io { file: file.to_owned(), source }
    }

    pub(super) fn archive(place: impl Into<String>, problem: ArchiveProblem) -> Error {
        Error::Archive { place: place.into(), problem }
    }
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveProblem {
    /// It does not start like a gzip file.
    #[error("not a gzip file; an STL-10 archive is a .tar.gz")]
    NotGzip,
    /// It ends too early.
    #[error("the archive ends in the middle of it, after {whole} {unit}; it was cut off, so fetch it again")]
    Truncated {
        /// What was still read of the place.
        whole: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// It cannot be unpacked, or not be read from the disk.
    #[error("cannot be unpacked: {0}")]
    Unreadable(io::Error),
    /// A member for images does not hold whole images.
    #[error("{bytes} bytes are no whole number of images of {image_bytes} bytes")]
    OddSize {
        /// The size of the member.
        bytes: u64,
        /// The size of one image.
        image_bytes: usize,
    },
    /// A label outside the classes.
    #[error("image {image} has the label {label}; labels are 1 to {classes}", classes = CLASSES)]
    BadLabel {
        /// Counted from 0.
        image: usize,
        /// As it stands in the file.
        label: u8,
    },
    /// Two members that belong together differ in length.
    #[error("has {labels} labels for {images} images")]
    CountMismatch {
        /// How many images there are.
        images: usize,
        /// How many labels there are.
        labels: usize,
    },
    /// A member that is a link or a device.
    #[error("is a {kind}; only plain files and directories are read")]
    NotAFile {
        /// What it is.
        kind: &'static str,
    },
    /// A member that would land outside the directory into which the archive is unpacked.
    #[error("this path leaves the archive")]
    Escapes,
    /// Members without which there is no dataset.
    #[error("lacks {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// The same member twice.
    #[error("appears twice")]
    Duplicate,
    /// A small member that is implausibly large.
    #[error("{bytes} bytes are too many; at most {limit} are read")]
    TooLarge {
        /// The size of the member.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// A wrong number of class names.
    #[error("names {0} classes; STL-10 has {classes}", classes = CLASSES)]
    ClassCount(usize),
}
