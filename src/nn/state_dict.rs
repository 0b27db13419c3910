//! Weights by PyTorch's names: what a network gives away and takes back, and its safetensors bytes, which
//! `load_state_dict(strict=True)` accepts. Knows no network and no device.

use std::fmt;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::error::Error;

/// Named tensors, in the order of the network's layers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateDict {
    entries: Vec<(String, Entry)>,
}

/// One tensor of a state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its dimensions; none for a single number.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Values,
}

/// The values of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Weights and statistics.
    F32(Vec<f32>),
    /// Counters.
    I64(Vec<i64>),
}

impl StateDict {
    /// Adds a tensor at the end.
    pub fn push(&mut self, name: String, shape: Vec<usize>, values: Values) {
        self.entries.push((name, Entry { shape, values }));
    }

    /// The tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, entry)| entry)
    }

    /// All tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// All tensors, in order, to change their values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Entry)> {
        self.entries.iter_mut().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Counts from 0 where a norm's counter is missing, as PyTorch does with a state dict that names no version of its
    /// format: `BatchNorm2d` had no `num_batches_tracked` before version 2, and evaluation never reads it.
    pub(super) fn add_missing_counters(&mut self, expects: &StateDict) {
        let counters = expects.iter().filter(|(name, _)| name.ends_with(".num_batches_tracked"));
        for (name, Entry { shape, values: _ }) in counters {
            if self.get(name).is_none() {
                self.push(name.to_owned(), shape.clone(), Values::I64(vec![0]));
            }
        }
    }

    /// Everything in which `self` differs from what a network `expects`, its values apart.
    pub(super) fn check(&self, expects: &StateDict) -> Result<(), Error> {
        let mut mismatch = Mismatch::default();
        for (name, expected) in expects.iter() {
            match self.get(name) {
                None => mismatch.missing.push(name.to_owned()),
                Some(found) if !found.is_like(expected) => {
                    mismatch.misshapen.push(format!("{name} is {found}, not {expected}"));
                }
                Some(_) => {}
            }
        }
        let unknown = self.iter().filter(|(name, _)| expects.get(name).is_none());
        mismatch.extra.extend(unknown.map(|(name, _)| name.to_owned()));
        if mismatch == Mismatch::default() { Ok(()) } else { Err(Error::Mismatch(mismatch)) }
    }

    /// The bytes of a `.safetensors` file. Equal state dicts give equal bytes.
    ///
    /// # Panics
    /// If a shape was pushed with values that do not fill it.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> = self.iter().map(|(_, entry)| entry.values.to_le_bytes()).collect();
        let views = self.iter().zip(&bytes).map(|((name, entry), bytes)| {
            let view = TensorView::new(entry.values.dtype(), entry.shape.clone(), bytes)
                .expect("every shape is filled by its values");
            (name, view)
        });
        serialize(views, None).expect("a header of names and shapes can be written as JSON")
    }

    /// Reads the bytes of a `.safetensors` file; its tensors come in the order of their names. Numbers of 16 bits
    /// become f32, which holds each of them exactly.
    ///
    /// # Errors
    /// [`Error::NotSafetensors`], or [`Error::Types`] with every tensor whose numbers neither are f32 or i64 nor can
    /// become so without loss.
    pub fn from_safetensors(bytes: &[u8]) -> Result<StateDict, Error> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::NotSafetensors(e.to_string()))?;
        let mut tensors: Vec<_> = file.iter().collect();
        tensors.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut state = StateDict::default();
        let mut refused = Vec::new();
        for (name, view) in tensors {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(from_le_bytes(data, f32::from_le_bytes)),
                Dtype::F16 => Values::F32(from_le_bytes(data, |b| f16::from_le_bytes(b).to_f32())),
                Dtype::BF16 => Values::F32(from_le_bytes(data, |b| bf16::from_le_bytes(b).to_f32())),
                Dtype::I64 => Values::I64(from_le_bytes(data, i64::from_le_bytes)),
                other => {
                    refused.push(format!("{name} holds {other}"));
                    continue;
                }
            };
            state.push(name.to_owned(), view.shape().to_vec(), values);
        }
        if refused.is_empty() { Ok(state) } else { Err(Error::Types(refused)) }
    }
}

impl Entry {
    fn is_like(&self, other: &Entry) -> bool {
        self.shape == other.shape && self.values.dtype() == other.values.dtype()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.values.dtype(), self.shape)
    }
}

impl Values {
    fn dtype(&self) -> Dtype {
        match self {
            Values::F32(_) => Dtype::F32,
            Values::I64(_) => Dtype::I64,
        }
    }

    fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Values::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::I64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

fn from_le_bytes<const N: usize, V>(bytes: &[u8], value: fn([u8; N]) -> V) -> Vec<V> {
    bytes.as_chunks::<N>().0.iter().map(|&b| value(b)).collect()
}

/// How the tensors of a state dict differ from those of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Tensors the network has and the state dict lacks.
    pub missing: Vec<String>,
    /// Tensors of the state dict that the network does not know.
    pub extra: Vec<String>,
    /// Tensors of another shape or type, each with both.
    pub misshapen: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("missing", &self.missing), ("unknown", &self.extra), ("misshapen", &self.misshapen)];
        let told: Vec<String> = lists
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        f.write_str(&told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StateDict {
        let mut state = StateDict::default();
        state.push("b.weight".into(), vec![2, 1], Values::F32(vec![1.5, -0.0]));
        state.push("a.num_batches_tracked".into(), vec![], Values::I64(vec![7]));
        state
    }

    #[test]
    fn safetensors_bytes_bring_back_every_tensor() {
        let read = StateDict::from_safetensors(&state().to_safetensors()).unwrap();
        assert_eq!(read.iter().count(), 2);
        for (name, entry) in state().iter() {
            assert_eq!(read.get(name), Some(entry));
        }
        assert_eq!(read.to_safetensors(), state().to_safetensors());
    }

    #[test]
    fn torn_bytes_are_an_error() {
        let bytes = state().to_safetensors();
        let torn = StateDict::from_safetensors(&bytes[..bytes.len() - 1]);
        assert!(matches!(torn, Err(Error::NotSafetensors(_))));
    }

    #[test]
    fn numbers_of_16_bits_are_widened_exactly() {
        let widened = |dtype, bits: u16| {
            let bytes = safetensors(&[("w", dtype, &bits.to_le_bytes())]);
            match &StateDict::from_safetensors(&bytes).unwrap().get("w").unwrap().values {
                Values::F32(values) => values[0],
                Values::I64(_) => panic!("a weight is no counter"),
            }
        };
        for (bits, value) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3c00, 1.0),
            (0xc248, -3.140_625),
            (0x7bff, 65_504.0),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(widened(Dtype::F16, bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        }
        assert!(widened(Dtype::F16, 0x7e00).is_nan());
        assert_eq!(widened(Dtype::BF16, 0xc049), -3.140_625);
        assert_eq!(widened(Dtype::BF16, 0x3f80), 1.0);
    }

    #[test]
    fn every_tensor_of_a_type_that_cannot_be_kept_is_named() {
        let bytes =
            safetensors(&[("a", Dtype::F64, &[0; 8]), ("b", Dtype::F32, &[0; 4]), ("c", Dtype::U8, &[0])]);
        let told = StateDict::from_safetensors(&bytes).unwrap_err().to_string();
        assert!(told.starts_with("a holds F64, c holds U8; weights are F32, F16 or BF16"), "{told}");
    }

    /// A file of tensors of one number each.
    fn safetensors(tensors: &[(&str, Dtype, &[u8])]) -> Vec<u8> {
        let view = |(name, dtype, bytes)| (name, TensorView::new(dtype, vec![1], bytes).unwrap());
        serialize(tensors.iter().copied().map(view), None).unwrap()
    }

    #[test]
    fn everything_that_does_not_fit_is_told_at_once() {
        let mut expects = StateDict::default();
        expects.push("b.weight".into(), vec![1, 2], Values::F32(vec![0.0; 2]));
        expects.push("b.bias".into(), vec![2], Values::F32(vec![0.0; 2]));
        let told = state().check(&expects).unwrap_err().to_string();
        assert_eq!(
            told,
            "the weights do not fit the network: missing: b.bias; unknown: a.num_batches_tracked; \
             misshapen: b.weight is F32 [2, 1], not F32 [1, 2]"
        );
    }
}
