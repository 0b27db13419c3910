//! The transforms a pipeline may name: their parameters, what is wrong with them, what size they give, and how to
//! apply them with random numbers from a stream. How each works on pixels is in the files beside this one.

use std::num::NonZero;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::crop::random_window;
use super::flip::flip;
use super::jitter::color_jitter;
use super::resize::{Window, resize};
use super::rotate::rotate;
use super::{Error, Picture};
use crate::dataset::random::Stream;

/// One image transform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// Rotate by an angle drawn uniformly from minus this to plus this many degrees; nearest pixel, black outside.
    Rotate(f64),
    /// Cut out a random window (area 8 to 100 %, ratio 3/4 to 4/3) and scale it to a square of this many pixels.
    ResizedCrop(NonZero<u32>),
    /// Scale so that the shorter side has this many pixels; bilinear, antialiased.
    Resize(NonZero<u32>),
    /// Change brightness, contrast and saturation by factors up to this far from 1, and turn the hue by up to this
    /// part of the circle, in random order.
    ColorJitter([f64; 4]),
    /// Mirror left to right with this probability.
    Hflip(f64),
}

/// Sides longer than this are a mistake.
const LONGEST_SIDE: u32 = 4096;

impl Transform {
    /// Its name in a pipeline.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Transform::Rotate(_) => "rotate",
            Transform::ResizedCrop(_) => "resized-crop",
            Transform::Resize(_) => "resize",
            Transform::ColorJitter(_) => "color-jitter",
            Transform::Hflip(_) => "hflip",
        }
    }

    /// Checks the range of its parameters.
    ///
    /// # Errors
    /// If one is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::Parameter { name: self.name(), problem });
        match self {
            Transform::Rotate(degrees) if !(0.0..=180.0).contains(degrees) => {
                refuse(format!("{degrees} degrees is not from 0 to 180"))
            }
            Transform::ResizedCrop(side) | Transform::Resize(side) if side.get() > LONGEST_SIDE => {
                refuse(format!("{side} pixels is not from 1 to {LONGEST_SIDE}"))
            }
            Transform::ColorJitter(strengths) if !strengths.iter().all(|s| (0.0..=100.0).contains(s)) => {
                refuse(format!("{strengths:?} has a strength that is not from 0 to 100"))
            }
            Transform::ColorJitter([.., hue]) if *hue > 0.5 => {
                refuse(format!("the hue {hue} is not from 0 to 0.5, half the circle"))
            }
            Transform::Hflip(probability) if !(0.0..=1.0).contains(probability) => {
                refuse(format!("{probability} is no probability from 0 to 1"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it does the same to the same picture each time.
    #[must_use]
    pub fn is_deterministic(&self) -> bool {
        match self {
            Transform::Resize(_) => true,
            Transform::Rotate(degrees) => *degrees == 0.0,
            Transform::ColorJitter(strengths) => *strengths == [0.0; 4],
            Transform::Hflip(probability) => *probability == 0.0 || *probability == 1.0,
            Transform::ResizedCrop(_) => false,
        }
    }

    /// The height and width of its result for a picture of the given height and width.
    #[must_use]
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        match self {
            Transform::Rotate(_) | Transform::ColorJitter(_) | Transform::Hflip(_) => (height, width),
            Transform::ResizedCrop(side) => (side.get() as usize, side.get() as usize),
            Transform::Resize(side) => {
                let side = side.get() as usize;
                if height <= width { (side, side * width / height) } else { (side * height / width, side) }
            }
        }
    }

    /// The shorter side of its result, if that is the same for every picture.
    #[must_use]
    pub fn shorter_side(&self) -> Option<u32> {
        match self {
            Transform::ResizedCrop(side) | Transform::Resize(side) => Some(side.get()),
            Transform::Rotate(_) | Transform::ColorJitter(_) | Transform::Hflip(_) => None,
        }
    }

    /// Changes the picture, taking random numbers from the stream.
    pub fn apply(&self, picture: &mut Picture, stream: &mut Stream) {
        match self {
            Transform::Rotate(degrees) => {
                let angle = stream.between(-degrees, *degrees);
                rotate(picture, angle);
            }
            Transform::ResizedCrop(_) => {
                let (height, width) = self.output_size(picture.height(), picture.width());
                let window = random_window(picture.height(), picture.width(), stream);
                resize(picture, window, height, width);
            }
            Transform::Resize(_) => {
                let (height, width) = self.output_size(picture.height(), picture.width());
                resize(picture, Window::whole(picture), height, width);
            }
            Transform::ColorJitter(strengths) => color_jitter(picture, *strengths, stream),
            Transform::Hflip(probability) => {
                if stream.uniform() < *probability {
                    flip(picture);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dataset::random::Purpose;

    fn pixels(side: u32) -> NonZero<u32> {
        side.try_into().expect("not 0")
    }

    #[test]
    fn it_is_written_as_one_key_and_its_parameter() {
        let transforms = json!([
            { "rotate": 45.0 },
            { "resized-crop": 96 },
            { "resize": 120 },
            { "color-jitter": [0.3, 0.3, 0.3, 0.3] },
            { "hflip": 0.5 },
        ]);
        let parsed: Vec<Transform> = serde_json::from_value(transforms.clone()).expect("parses");
        assert_eq!(serde_json::to_value(&parsed).expect("writes"), transforms);
        let names: Vec<_> = parsed.iter().map(Transform::name).collect();
        assert_eq!(names, ["rotate", "resized-crop", "resize", "color-jitter", "hflip"]);
        assert!(serde_json::from_value::<Transform>(json!({ "vflip": 0.5 })).is_err());
        assert!(serde_json::from_value::<Transform>(json!({ "color-jitter": [0.3] })).is_err());
    }

    #[test]
    fn parameters_out_of_range_are_told() {
        let complaint = |transform: Transform| transform.check().expect_err("complains").to_string();
        assert_eq!(complaint(Transform::Rotate(-1.0)), "rotate: -1 degrees is not from 0 to 180");
        assert_eq!(complaint(Transform::Rotate(f64::NAN)), "rotate: NaN degrees is not from 0 to 180");
        assert_eq!(
            complaint(Transform::ResizedCrop(pixels(5000))),
            "resized-crop: 5000 pixels is not from 1 to 4096"
        );
        assert_eq!(
            complaint(Transform::ColorJitter([0.1, 0.1, 0.1, 0.6])),
            "color-jitter: the hue 0.6 is not from 0 to 0.5, half the circle"
        );
        assert_eq!(
            complaint(Transform::ColorJitter([-0.1, 0.1, 0.1, 0.1])),
            "color-jitter: [-0.1, 0.1, 0.1, 0.1] has a strength that is not from 0 to 100"
        );
        assert_eq!(complaint(Transform::Hflip(1.5)), "hflip: 1.5 is no probability from 0 to 1");
    }

    #[test]
    fn resize_keeps_the_ratio() {
        assert_eq!(Transform::Resize(pixels(120)).output_size(96, 96), (120, 120));
        assert_eq!(Transform::Resize(pixels(120)).output_size(60, 90), (120, 180));
        assert_eq!(Transform::Resize(pixels(50)).output_size(90, 60), (75, 50));
    }

    #[test]
    fn a_flip_with_probability_one_half_happens_half_the_time() {
        let flips = (0..10_000).filter(|sample| {
            let mut picture = Picture::new(&[1, 2, 1, 2, 1, 2], 1, 2);
            Transform::Hflip(0.5).apply(&mut picture, &mut Stream::new(5, Purpose::Augment, *sample, 0));
            picture.pixels()[0] == 2
        });
        assert!(flips.count().abs_diff(5000) < 250);
    }
}
