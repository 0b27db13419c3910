//! Which image is which, by its pixels alone: the same picture has the same fingerprint wherever it came from and
//! whatever its label. It knows no files; lists of fingerprints become bytes here and go where others put them.

use std::fmt;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

const BYTES: usize = 16;
const TENSOR: &str = "fingerprints";

/// The first 16 bytes of blake3 over an image's height, width and pixels. Two different images share one with a
/// probability of 2^-128.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; BYTES]);

impl Fingerprint {
    /// The fingerprint of an image. // pixels: (3, height, width)
    #[must_use]
    pub fn of(pixels: &[u8], height: usize, width: usize) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(height as u64).to_le_bytes()).update(&(width as u64).to_le_bytes()).update(pixels);
        Fingerprint(*hasher.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes"))
    }

    /// The bytes of a `.safetensors` file of one tensor, `fingerprints` u8 (count, 16).
    #[must_use]
    pub fn to_safetensors(list: &[Fingerprint]) -> Vec<u8> {
        let bytes: Vec<u8> = list.iter().flat_map(|fingerprint| fingerprint.0).collect();
        let view = TensorView::new(Dtype::U8, vec![list.len(), BYTES], &bytes)
            .expect("there are as many bytes as the shape says");
        serialize([(TENSOR, view)], None).expect("a header of one name can be written as JSON")
    }

    /// Reads what [`Fingerprint::to_safetensors`] gives.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Vec<Fingerprint>, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let tensor = file.tensor(TENSOR).map_err(|e| e.to_string())?;
        match (tensor.dtype(), tensor.shape()) {
            (Dtype::U8, [_, BYTES]) => {
                Ok(tensor.data().as_chunks().0.iter().map(|bytes| Fingerprint(*bytes)).collect())
            }
            (dtype, shape) => Err(format!("{TENSOR} is {dtype} {shape:?}, not U8 [count, {BYTES}]")),
        }
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_shape_make_the_fingerprint() {
        let image = Fingerprint::of(&[1, 2, 3, 4, 5, 6], 1, 2);
        assert_eq!(image, Fingerprint::of(&[1, 2, 3, 4, 5, 6], 1, 2));
        assert_ne!(image, Fingerprint::of(&[1, 2, 3, 4, 5, 7], 1, 2));
        assert_ne!(image, Fingerprint::of(&[1, 2, 3, 4, 5, 6], 2, 1));
    }

    #[test]
    fn a_list_survives_being_written_and_read() {
        let list: Vec<Fingerprint> = (0..3).map(|value| Fingerprint::of(&[value; 3], 1, 1)).collect();
        let bytes = Fingerprint::to_safetensors(&list);
        assert_eq!(Fingerprint::from_safetensors(&bytes), Ok(list));
        assert!(Fingerprint::from_safetensors(&bytes[1..]).is_err());
        assert_eq!(Fingerprint::from_safetensors(&Fingerprint::to_safetensors(&[])), Ok(vec![]));
    }
}
