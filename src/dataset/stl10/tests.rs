//! Archives that are right, and archives that are wrong in one way each.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::dataset::Error;

/// Keeps everything, and stops after a number of pause points.
#[derive(Default)]
struct Collected {
    images: BTreeMap<Part, Vec<u8>>,
    labels: BTreeMap<Part, Vec<u8>>,
    announced: BTreeMap<Part, usize>,
}

impl Visitor for Collected {
    type Error = Error;

    fn begin(&mut self, part: Part, count: usize) -> Result<(), Error> {
        self.announced.insert(part, count);
        Ok(())
    }

    fn images(&mut self, part: Part, pixels: &[u8]) -> Result<(), Error> {
        self.images.entry(part).or_default().extend_from_slice(pixels);
        Ok(())
    }

    fn labels(&mut self, part: Part, labels: &[u8]) -> Result<(), Error> {
        self.labels.entry(part).or_default().extend_from_slice(labels);
        Ok(())
    }

    fn pause_point(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

const LABELLED: [Part; 2] = [Part::Train, Part::Test];
const CLASS_NAMES: &[u8] = b"airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n";

/// A tar file under construction that allows what no archive should contain.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Tar {
        Tar(Builder::new(Vec::new()))
    }

    fn file(self, path: &str, content: &[u8]) -> Tar {
        self.entry(path, EntryType::Regular, content)
    }

    fn entry(mut self, path: &str, kind: EntryType, content: &[u8]) -> Tar {
        let mut header = Header::new_ustar();
        // `set_path` would refuse what the tests are about.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("memory can be written");
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("memory can be written")
    }

    fn gz(self) -> Vec<u8> {
        gzip(&self.bytes())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("memory can be written");
    gzip.finish().expect("memory can be written")
}

/// Image `number` as it stands on the disk: every pixel is a function of its place.
fn columns(number: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IMAGE_BYTES);
    for channel in 0..3 {
        for x in 0..SIDE {
            for y in 0..SIDE {
                bytes.push(pixel(number, channel, y, x));
            }
        }
    }
    bytes
}

fn pixel(number: usize, channel: usize, y: usize, x: usize) -> u8 {
    (number * 89 + channel * 61 + y * 7 + x * 3) as u8
}

fn many(count: usize) -> Vec<u8> {
    (0..count).flat_map(columns).collect()
}

/// A right archive of 3 training and 2 test images, in the order of the official one.
fn good() -> Tar {
    Tar::new()
        .entry("stl10_binary/", EntryType::Directory, b"")
        .file("stl10_binary/test_X.bin", &many(2))
        .file("stl10_binary/test_y.bin", &[10, 1])
        .file("stl10_binary/train_X.bin", &many(3))
        .file("stl10_binary/train_y.bin", &[1, 2, 3])
        .file("stl10_binary/unlabeled_X.bin", &many(4))
        .file("stl10_binary/class_names.txt", CLASS_NAMES)
        .file("stl10_binary/fold_indices.txt", b"0 1 2\n")
}

fn collect(archive: &[u8], parts: &[Part]) -> Result<(Collected, Vec<String>), Error> {
    let mut collected = Collected::default();
    let classes = read(archive, parts, &mut collected)?;
    Ok((collected, classes))
}

fn complaint(archive: &[u8]) -> String {
    collect(archive, &LABELLED).err().expect("the archive is wrong").to_string()
}

#[test]
fn columns_become_rows_and_labels_start_at_zero() {
    let (read, classes) = collect(&good().gz(), &LABELLED).expect("reads");
    assert_eq!(read.announced, BTreeMap::from([(Part::Train, 3), (Part::Test, 2)]));
    assert_eq!(read.labels, BTreeMap::from([(Part::Train, vec![0, 1, 2]), (Part::Test, vec![9, 0])]));
    assert_eq!((classes.len(), classes[0].as_str(), classes[9].as_str()), (10, "airplane", "truck"));
    let train = &read.images[&Part::Train];
    assert_eq!(train.len(), 3 * IMAGE_BYTES);
    for (i, byte) in train.iter().enumerate() {
        let (number, within) = (i / IMAGE_BYTES, i % IMAGE_BYTES);
        let (channel, y, x) = (within / SIDE / SIDE, within / SIDE % SIDE, within % SIDE);
        assert_eq!(*byte, pixel(number, channel, y, x), "image {number} channel {channel} at {y}, {x}");
    }
}

#[test]
fn the_order_of_the_members_does_not_matter() {
    let reversed = Tar::new()
        .file("./class_names.txt", CLASS_NAMES)
        .file("./train_y.bin", &[1, 2, 3])
        .file("./train_X.bin", &many(3))
        .file("./test_y.bin", &[10, 1])
        .file("./test_X.bin", &many(2));
    let (reversed, _) = collect(&reversed.gz(), &LABELLED).expect("reads");
    let (official, _) = collect(&good().gz(), &LABELLED).expect("reads");
    assert_eq!(reversed.images, official.images);
    assert_eq!(reversed.labels, official.labels);
}

#[test]
fn unlabeled_images_are_read_on_request_only() {
    let (without, _) = collect(&good().gz(), &LABELLED).expect("reads");
    assert!(!without.announced.contains_key(&Part::Unlabeled));
    let (with, _) = collect(&good().gz(), &[Part::Train, Part::Test, Part::Unlabeled]).expect("reads");
    assert_eq!(with.images[&Part::Unlabeled].len(), 4 * IMAGE_BYTES);
    assert_eq!(with.labels[&Part::Unlabeled], [crate::dataset::UNLABELED; 4]);
}

#[test]
fn what_the_writer_writes_is_read_back_and_has_the_same_bytes_each_time() {
    let image: Vec<u8> = (0..IMAGE_BYTES).map(|i| (i / 5) as u8).collect();
    let write = || {
        let mut archive = ArchiveWriter::new(Vec::new());
        archive.class_names(&["c"; CLASSES])?;
        for part in LABELLED {
            archive.begin_images(part, 2)?;
            archive.image(&image)?;
            archive.image(&image)?;
            archive.labels(part, &[0, 9])?;
        }
        archive.finish()
    };
    let archive = write().expect("memory can be written");
    assert_eq!(archive, write().expect("memory can be written"));
    let (read, classes) = collect(&archive, &LABELLED).expect("reads");
    assert_eq!(read.images[&Part::Test], [image.clone(), image].concat());
    assert_eq!(read.labels[&Part::Train], [0, 9]);
    assert_eq!(classes, ["c"; CLASSES]);
}

#[test]
fn a_cut_off_archive_is_told_with_its_place() {
    let tar = good().bytes();
    // The header of the directory, the first header, and half of the second test image.
    let cut = 512 + 512 + IMAGE_BYTES * 3 / 2;
    assert_eq!(
        complaint(&gzip(&tar[..cut])),
        "stl10_binary/test_X.bin: the archive ends in the middle of it, after 1 images; it was cut off, so \
         fetch it again"
    );
    let gz = gzip(&tar);
    for cut in [20, gz.len() / 3, gz.len() / 2, gz.len() - 4] {
        let complaint = complaint(&gz[..cut]);
        assert!(complaint.contains("the archive ends in the middle of it"), "cut at {cut}: {complaint}");
    }
    let in_header = complaint(&gzip(&tar[..512 + 100]));
    assert!(in_header.starts_with("archive: "), "{in_header}");
}

#[test]
fn a_flipped_byte_is_found_by_the_checksum() {
    let mut gz = good().gz();
    let checksum = gz.len() - 8;
    gz[checksum] ^= 1;
    assert!(complaint(&gz).starts_with("archive: cannot be unpacked"), "{}", complaint(&gz));
}

#[test]
fn something_else_than_gzip_is_told() {
    assert_eq!(complaint(b"<html>404</html>"), "archive: not a gzip file; an STL-10 archive is a .tar.gz");
    assert_eq!(complaint(b""), "archive: not a gzip file; an STL-10 archive is a .tar.gz");
}

#[test]
fn members_that_contradict_the_format_are_told() {
    let train = |images: &[u8], labels: &[u8]| {
        let tar = Tar::new().file("train_X.bin", images).file("train_y.bin", labels);
        complaint(&tar.gz())
    };
    assert_eq!(
        train(&many(1)[1..], &[1]),
        "train_X.bin: 27647 bytes are no whole number of images of 27648 bytes"
    );
    assert_eq!(train(&many(2), &[1, 0]), "train_y.bin: image 1 has the label 0; labels are 1 to 10");
    assert_eq!(train(&many(2), &[11, 1]), "train_y.bin: image 0 has the label 11; labels are 1 to 10");
    assert_eq!(train(&many(2), &[1, 1, 1]), "train_y.bin: has 3 labels for 2 images");
    assert_eq!(
        complaint(&Tar::new().file("train_y.bin", &[1, 1]).file("train_X.bin", &many(3)).gz()),
        "train_X.bin: has 2 labels for 3 images"
    );
    assert_eq!(
        complaint(&Tar::new().file("class_names.txt", b"cat\ndog\n").gz()),
        "class_names.txt: names 2 classes; STL-10 has 10"
    );
}

#[test]
fn missing_and_repeated_members_are_told() {
    let only_test = Tar::new().file("test_X.bin", &many(1)).file("test_y.bin", &[1]);
    assert_eq!(complaint(&only_test.gz()), "archive: lacks train_X.bin, train_y.bin, class_names.txt");
    let twice = Tar::new().file("a/train_y.bin", &[1]).file("b/train_y.bin", &[1]);
    assert_eq!(complaint(&twice.gz()), "b/train_y.bin: appears twice");
    let (missing, _) = (Tar::new().file("class_names.txt", CLASS_NAMES), ());
    assert!(complaint(&missing.gz()).contains("lacks train_X.bin, train_y.bin, test_X.bin, test_y.bin"));
}

#[test]
fn links_devices_and_paths_that_leave_the_archive_are_refused() {
    for (kind, name) in [
        (EntryType::Symlink, "symbolic link"),
        (EntryType::Link, "hard link"),
        (EntryType::Char, "device"),
        (EntryType::Fifo, "named pipe"),
    ] {
        assert_eq!(
            complaint(&Tar::new().entry("train_X.bin", kind, b"").gz()),
            format!("train_X.bin: is a {name}; only plain files and directories are read")
        );
    }
    for path in ["../train_X.bin", "stl10_binary/../../train_X.bin", "/train_X.bin"] {
        assert_eq!(
            complaint(&Tar::new().file(path, b"").gz()),
            format!("{path}: this path leaves the archive")
        );
    }
}

#[test]
fn a_header_that_lies_about_the_size_costs_no_memory() {
    let mut header = Header::new_gnu();
    header.set_path("train_y.bin").expect("a short path");
    header.set_size(1 << 50);
    header.set_cksum();
    let complaint = complaint(&gzip(header.as_bytes()));
    assert!(complaint.starts_with("train_y.bin: 1125899906842624 bytes are too many"), "{complaint}");
}

/// The archives of real images, where they are at hand.
fn real_archive(name: &str) -> Option<Vec<u8>> {
    let dir = std::env::var_os("STLPIPE_STL10_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/stl10"), PathBuf::from);
    let archive = std::fs::read(dir.join(name)).ok();
    if archive.is_none() {
        eprintln!("skipped: no {name} in {}", dir.display());
    }
    archive
}

#[test]
fn real_images_are_read_as_an_independent_decoder_reads_them() {
    let Some(archive) = real_archive("stl10_mini.tar.gz") else { return };
    let (read, classes) = collect(&archive, &LABELLED).expect("reads");
    assert_eq!(classes.join(" "), String::from_utf8_lossy(CLASS_NAMES).trim().replace('\n', " "));

    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let mut on_disk = BTreeMap::new();
    for entry in tar.entries().expect("a tar file") {
        let mut entry = entry.expect("a tar file");
        let name = entry.path().expect("a path").file_name().expect("a name").to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("reads");
        on_disk.insert(name, bytes);
    }
    for (part, name) in [(Part::Train, "train"), (Part::Test, "test")] {
        let columns = &on_disk[&format!("{name}_X.bin")];
        let rows = &read.images[&part];
        assert_eq!(rows.len(), columns.len());
        for (i, pixel) in rows.iter().enumerate() {
            let (plane, y, x) = (i / (96 * 96), i / 96 % 96, i % 96);
            assert_eq!(*pixel, columns[plane * 96 * 96 + x * 96 + y]);
        }
        let labels: Vec<u8> = on_disk[&format!("{name}_y.bin")].iter().map(|label| label - 1).collect();
        assert_eq!(read.labels[&part], labels);
    }
}
