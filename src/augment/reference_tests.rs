//! Every case of `tests/fixtures/transforms.safetensors`: what torchvision 0.29.1 gives on Pillow images for each
//! transform with its parameters fixed.

use safetensors::SafeTensors;
use serde_json::{Map, Value};

use super::Picture;
use super::color::{brightness, contrast, saturation};
use super::flip::flip;
use super::hue::turn_hue;
use super::resize::{Window, resize};
use super::rotate::rotate;

const REFERENCE: &[u8] = include_bytes!("../../tests/fixtures/transforms.safetensors");

/// How far a case is from the reference.
struct Difference {
    name: String,
    largest: u8,
    mean: f64,
}

/// Runs all cases of one operation through `run`.
fn compare(operation: &str, run: impl Fn(&mut Picture, &Map<String, Value>)) -> Vec<Difference> {
    let (_, metadata) = SafeTensors::read_metadata(REFERENCE).expect("a safetensors file");
    let cases = &metadata.metadata().as_ref().expect("the cases are in the metadata")["cases"];
    let cases: Map<String, Value> = serde_json::from_str(cases).expect("the cases are a JSON object");
    let tensors = SafeTensors::deserialize(REFERENCE).expect("a safetensors file");
    let mut differences = Vec::new();
    for (name, case) in cases.iter().filter(|(_, case)| case["op"] == operation) {
        let (_, input) = name.rsplit_once('.').expect("cases are named after their input");
        let input = tensors.tensor(&format!("input.{input}")).expect("the input is there");
        let mut picture = Picture::new(input.data(), input.shape()[1], input.shape()[2]);
        run(&mut picture, case.as_object().expect("a case is an object"));

        let expected = tensors.tensor(name).expect("the result is there");
        assert_eq!(expected.shape(), [3, picture.height(), picture.width()], "{name}");
        let apart =
            || picture.pixels().iter().zip(expected.data()).map(|(ours, theirs)| ours.abs_diff(*theirs));
        differences.push(Difference {
            name: name.clone(),
            largest: apart().max().expect("pictures have pixels"),
            mean: apart().map(f64::from).sum::<f64>() / expected.data().len() as f64,
        });
    }
    assert!(!differences.is_empty(), "no case of {operation}");
    differences
}

fn assert_identical(operation: &str, run: impl Fn(&mut Picture, &Map<String, Value>)) {
    for Difference { name, largest, mean } in compare(operation, run) {
        assert_eq!(largest, 0, "{name} is off by {largest} levels, {mean} on average");
    }
}

fn number(case: &Map<String, Value>, key: &str) -> f64 {
    case[key].as_f64().expect("a number")
}

fn whole(case: &Map<String, Value>, key: &str) -> usize {
    number(case, key) as usize
}

#[test]
fn rotate_gives_the_bytes_of_torchvision() {
    assert_identical("rotate", |picture, case| rotate(picture, number(case, "degrees")));
}

#[test]
fn flip_gives_the_bytes_of_torchvision() {
    assert_identical("hflip", |picture, _| flip(picture));
}

#[test]
fn resized_crop_gives_the_bytes_of_torchvision() {
    assert_identical("resized_crop", |picture, case| {
        let window = Window {
            top: whole(case, "top"),
            left: whole(case, "left"),
            height: whole(case, "height"),
            width: whole(case, "width"),
        };
        resize(picture, window, whole(case, "size"), whole(case, "size"));
    });
}

#[test]
fn brightness_contrast_and_saturation_give_the_bytes_of_torchvision() {
    assert_identical("brightness", |picture, case| brightness(picture, number(case, "factor")));
    assert_identical("contrast", |picture, case| contrast(picture, number(case, "factor")));
    assert_identical("saturation", |picture, case| saturation(picture, number(case, "factor")));
}

#[test]
fn hue_gives_the_bytes_of_torchvision() {
    assert_identical("hue", |picture, case| turn_hue(picture, number(case, "factor")));
}

#[test]
fn a_chain_of_transforms_gives_the_bytes_of_torchvision() {
    // The case's own words: rotate 21, resized_crop 8 12 60 64 -> 80, brightness 1.2, contrast 0.8,
    // saturation 1.25, hue 0.1, hflip.
    assert_identical("chain", |picture, _| {
        rotate(picture, 21.0);
        resize(picture, Window { top: 8, left: 12, height: 60, width: 64 }, 80, 80);
        brightness(picture, 1.2);
        contrast(picture, 0.8);
        saturation(picture, 1.25);
        turn_hue(picture, 0.1);
        flip(picture);
    });
}
