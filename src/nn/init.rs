//! The first values of a network's parameters, from nothing but the seed and their place in the network.
//!
//! Convolutions: Kaiming normal with fan-out and gain sqrt 2 (He et al., "Delving deep into rectifiers", ICCV
//! 2015). Norms: 1 and 0. Convolution biases and linear layers: PyTorch's default, uniform within
//! +-1 / sqrt(fan-in).

use crate::dataset::random::{Purpose, Stream};

use super::parameters::{Role, role};
use super::state_dict::{StateDict, Values};

/// Fills the parameters of a freshly built network, whose norms already hold their first values.
pub fn initialize(state: &mut StateDict, seed: u64) {
    let mut fan_in = 0;
    for (index, (name, entry)) in state.iter_mut().enumerate() {
        let Values::F32(values) = &mut entry.values else { continue };
        let is_weight = entry.shape.len() > 1;
        if is_weight {
            fan_in = entry.shape[1..].iter().product();
        }
        let mut stream = Stream::new(seed, Purpose::Init, index as u64, 0);
        match role(name) {
            Role::Norm => {}
            Role::Convolution if is_weight => {
                let fan_out: usize = entry.shape[0] * entry.shape[2..].iter().product::<usize>();
                let deviation = (2.0 / fan_out as f64).sqrt();
                values.fill_with(|| (deviation * stream.normal()) as f32);
            }
            Role::Convolution | Role::Head => {
                let bound = 1.0 / (fan_in as f64).sqrt();
                values.fill_with(|| stream.between(-bound, bound) as f32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StateDict {
        let mut state = StateDict::default();
        for (name, shape) in [
            ("layer_1.weight", vec![64, 16, 3, 3]),
            ("layer_1.bias", vec![64]),
            ("conv2_bn1.weight", vec![64]),
            ("fc_layer_1.weight", vec![10, 400]),
        ] {
            let count = shape.iter().product();
            state.push(name.into(), shape, Values::F32(vec![1.0; count]));
        }
        state
    }

    fn values<'a>(state: &'a StateDict, name: &str) -> &'a [f32] {
        match &state.get(name).unwrap().values {
            Values::F32(values) => values,
            Values::I64(_) => panic!("{name} is a counter"),
        }
    }

    #[test]
    fn each_kind_of_parameter_has_its_distribution() {
        let mut state = state();
        initialize(&mut state, 1);
        let weight = values(&state, "layer_1.weight");
        let variance = weight.iter().map(|w| w * w).sum::<f32>() / weight.len() as f32;
        assert!((variance * 64.0 * 9.0 / 2.0 - 1.0).abs() < 0.05, "fan-out is 64 * 9: {variance}");
        let largest = |name| values(&state, name).iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!((0.07..1.0 / 12.0).contains(&largest("layer_1.bias")), "fan-in is 16 * 9");
        assert!((0.04..0.05).contains(&largest("fc_layer_1.weight")), "fan-in is 400");
        assert!(values(&state, "conv2_bn1.weight").iter().all(|&w| w == 1.0));
    }

    #[test]
    fn a_seed_gives_the_same_network_and_another_seed_another() {
        let (mut a, mut b, mut c) = (state(), state(), state());
        initialize(&mut a, 1);
        initialize(&mut b, 1);
        initialize(&mut c, 2);
        assert_eq!(a, b);
        assert_ne!(a, c);
    }
}
