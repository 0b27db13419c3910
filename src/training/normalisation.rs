//! Pixels to the numbers a network sees: (value / 255 - mean) / deviation, per channel.

use serde::{Deserialize, Serialize};

/// Mean and standard deviation of each channel, for values between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Red, green and blue.
    pub mean: [f64; 3],
    /// Red, green and blue.
    pub std: [f64; 3],
}

impl Default for Normalisation {
    /// The figures of the STL-10 experiments.
    fn default() -> Normalisation {
        Normalisation { mean: [0.507, 0.487, 0.441], std: [0.267, 0.256, 0.276] }
    }
}

impl Normalisation {
    /// What each of the 256 values becomes in each channel.
    #[must_use]
    pub fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|value| {
                ((value as f64 / 255.0 - self.mean[channel]) / self.std[channel]) as f32
            })
        })
    }

    /// Normalises one image with a [`Normalisation::table`].
    pub fn apply(table: &[[f32; 256]; 3], pixels: &[u8], out: &mut [f32]) {
        // (3, height, width), both
        let plane = pixels.len() / 3;
        for (channel, (pixels, out)) in pixels.chunks(plane).zip(out.chunks_mut(plane)).enumerate() {
            for (pixel, out) in pixels.iter().zip(out) {
                *out = table[channel][usize::from(*pixel)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_becomes_zero_and_a_deviation_more_becomes_one() {
        let normalisation = Normalisation { mean: [0.0, 51.0 / 255.0, 0.2], std: [1.0, 0.2, 0.4] };
        let mut out = [0.0; 6];
        Normalisation::apply(&normalisation.table(), &[0, 255, 51, 102, 51, 255], &mut out);
        let expected = [0.0, 1.0, 0.0, 1.0, 0.0, 2.0];
        assert!(out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{out:?}");
    }
}
