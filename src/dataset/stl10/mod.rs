//! The STL-10 binary format (Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised feature
//! learning", AISTATS 2011): a .tar.gz whose `_X.bin` members hold images of 96x96 pixels, each as three planes
//! stored column by column, and whose `_y.bin` members hold one label from 1 to 10 per image. Outside this folder
//! images are row-major and labels start at 0.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Visitor, read};
pub use writer::ArchiveWriter;

/// The height and width of every image, in pixels.
pub const SIDE: usize = 96;

/// The bytes of one image.
pub const IMAGE_BYTES: usize = 3 * SIDE * SIDE;

/// How many classes there are.
pub const CLASSES: usize = 10;

/// A set of images in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Labelled images to train on.
    Train,
    /// Labelled images to test on.
    Test,
    /// Images without labels.
    Unlabeled,
}

impl Part {
    /// Its name in the archive.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Test => "test",
            Part::Unlabeled => "unlabeled",
        }
    }
}

/// A member of the archive that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Images(Part),
    Labels(Part),
    ClassNames,
}

impl Member {
    const ALL: [Member; 6] = [
        Member::Images(Part::Train),
        Member::Labels(Part::Train),
        Member::Images(Part::Test),
        Member::Labels(Part::Test),
        Member::Images(Part::Unlabeled),
        Member::ClassNames,
    ];

    fn file_name(self) -> &'static str {
        match self {
            Member::Images(Part::Train) => "train_X.bin",
            Member::Images(Part::Test) => "test_X.bin",
            Member::Images(Part::Unlabeled) => "unlabeled_X.bin",
            Member::Labels(Part::Train) => "train_y.bin",
            Member::Labels(Part::Test) => "test_y.bin",
            Member::Labels(Part::Unlabeled) => "unlabeled_y.bin",
            Member::ClassNames => "class_names.txt",
        }
    }

    fn with_file_name(name: &str) -> Option<Member> {
        Member::ALL.into_iter().find(|member| member.file_name() == name)
    }
}

/// Turns the planes of one image from column-major to row-major, or back, which is the same.
fn transpose(image: &[u8], out: &mut [u8]) {
    for (plane, out) in image.chunks_exact(SIDE * SIDE).zip(out.chunks_exact_mut(SIDE * SIDE)) {
        super::transpose::transpose(plane, SIDE, SIDE, SIDE, out);
    }
}
