//! The composed kernels against the fused ones, one operation at a time: values and gradients. Whole networks
//! are compared in `agreement_tests`.

use std::sync::OnceLock;

use dfdx::prelude::*;

use super::composed::Composed;
use super::cpu::Fused;
use super::kernels::{Convolution, Filters, Kernels, Maps, Norm, PerChannel, Rows, Source};
use super::tape::{Recorder, Traced};
use crate::dataset::random::{Purpose, Stream};

fn numbers<S: Shape>(shape: S, seed: u64) -> Tensor<S, f32, Cpu> {
    let mut stream = Stream::new(seed, Purpose::Init, 0, 0);
    // Eighths, so that equal values do occur.
    let values = (0..shape.num_elements()).map(|_| (stream.normal() * 8.0).round() as f32 / 8.0).collect();
    Cpu::default().tensor_from_vec(values, shape)
}

/// A tensor on a tape, whose gradient comes to be among dfdx's.
fn traced<S: Shape>(x: &Tensor<S, f32, Cpu>) -> Tensor<S, f32, Cpu, Traced<Cpu>> {
    let mut tape = Traced::default();
    let (gradient, leaf) = (tape.gradient(), x.clone());
    tape.add_backward_op(move |grads| {
        if let Some(values) = gradient.take() {
            **grads.get_or_alloc_mut(&leaf)? = values;
        }
        Ok(())
    });
    x.clone().put_tape(tape)
}

/// The gradients of a sum of y weighted by fixed numbers.
fn backward<S: Shape>(y: Tensor<S, f32, Cpu, Traced<Cpu>>) -> Gradients<f32, Cpu> {
    let (y, tape) = y.split_tape();
    let weights = numbers(*y.shape(), 99);
    (y.put_tape(tape.into_inner()) * weights).sum::<Rank0, _>().backward()
}

/// The same for maps that the fused kernels made, which take their gradient from the tape, before their activation.
fn backward_fused<const C: usize>(y: Maps<C, Cpu, Traced<Cpu>>) -> Gradients<f32, Cpu> {
    let (y, mut tape) = y.split_tape();
    let (gradient, maps) = (tape.gradient(), y.clone());
    tape.add_backward_op(move |grads| {
        let mut values = std::mem::take(&mut **grads.get_or_alloc_mut(&maps)?);
        for (value, y) in values.iter_mut().zip(maps.as_vec()) {
            *value *= if y > 0.0 { 1.0 } else { gradient.negative_slope() };
        }
        gradient.place(values);
        Ok(())
    });
    backward(y.put_tape(tape))
}

fn assert_near(what: &str, ours: &[f32], fast: &[f32]) {
    assert_eq!(ours.len(), fast.len(), "{what}");
    for (ours, fast) in ours.iter().zip(fast) {
        assert!((ours - fast).abs() < 1e-4 * fast.abs().max(1.0), "{what}: {ours}, not {fast}");
    }
}

fn check_convolve<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
    stride: usize,
    padding: usize,
    negative_slope: f32,
) {
    let what = format!("{I} to {O}, kernel {K}, stride {stride}");
    let how = Convolution { stride, padding, negative_slope, input: Source::First };
    let x: Maps<I, Cpu> = numbers((3, Const, 7, 6), 1);
    let filters: Filters<O, PER_GROUP, K, Cpu> = numbers(Default::default(), 2);
    let bias: PerChannel<O, Cpu> = numbers(Default::default(), 3);
    let (scale, shift): (PerChannel<O, Cpu>, _) =
        (numbers(Default::default(), 4), numbers(Default::default(), 5));
    let map = (&scale, &shift);
    let ours =
        Composed::convolve_mapped(x.clone(), &filters, Some(&bias), how, map, &OnceLock::new()).unwrap();
    let fast = Fused::convolve_mapped(x.clone(), &filters, Some(&bias), how, map, &OnceLock::new()).unwrap();
    assert_near(&what, &ours.as_vec(), &fast.as_vec());
    let shortcut: Maps<O, Cpu> = numbers(*ours.shape(), 6);
    for shortcut in [None, Some(shortcut.clone())] {
        let ours =
            Composed::convolve(x.clone(), &filters, map, how, shortcut.clone(), &OnceLock::new()).unwrap();
        let fast = Fused::convolve(x.clone(), &filters, map, how, shortcut, &OnceLock::new()).unwrap();
        assert_near(&what, &ours.as_vec(), &fast.as_vec());
    }
    let cases = [(0.0, false), (0.1, false), (1.0, false), (0.0, true), (0.1, true)];
    for (negative_slope, is_residual) in cases {
        let norm = || Norm {
            scale: &scale,
            shift: &shift,
            eps: 1e-5,
            negative_slope,
            shortcut: is_residual.then(|| traced(&shortcut)),
        };
        let (ours, ours_of) =
            Composed::convolve_normalize(traced(&x), &filters, Some(&bias), how, norm()).unwrap();
        let (fast, fast_of) =
            Fused::convolve_normalize(traced(&x), &filters, Some(&bias), how, norm()).unwrap();
        assert_near(&what, &ours.as_vec(), &fast.as_vec());
        for (ours, fast) in ours_of.variance.iter().zip(&fast_of.variance) {
            assert!((ours - fast).abs() < 1e-5 * fast, "{what}: {ours}, not {fast}");
        }
        let (ours, fast) = (backward(ours), backward_fused(fast));
        assert_near(&what, &ours.get(&x).as_vec(), &fast.get(&x).as_vec());
        assert_near(&what, &ours.get(&filters).as_vec(), &fast.get(&filters).as_vec());
        assert_near(&what, &ours.get(&bias).as_vec(), &fast.get(&bias).as_vec());
        assert_near(&what, &ours.get(&scale).as_vec(), &fast.get(&scale).as_vec());
        assert_near(&what, &ours.get(&shift).as_vec(), &fast.get(&shift).as_vec());
        if is_residual {
            assert_near(&what, &ours.get(&shortcut).as_vec(), &fast.get(&shortcut).as_vec());
        }
    }
}

#[test]
fn convolutions_agree_with_the_fast_ones() {
    check_convolve::<3, 4, 3, 5>(2, 3, 0.1);
    check_convolve::<4, 6, 2, 3>(1, 2, 1.0);
    check_convolve::<4, 2, 4, 1>(1, 0, 0.0);
    check_convolve::<8, 8, 1, 3>(2, 1, 1.0);
    check_convolve::<2, 3, 2, 4>(1, 2, 0.0);
}

#[test]
fn pools_agree_with_the_fast_ones_even_on_ties() {
    let x: Maps<2, Cpu> = numbers((3, Const, 9, 8), 1);
    for (side, stride, padding) in [(2, 2, 0), (3, 2, 1)] {
        let ours = Composed::max_pool(traced(&x), side, stride, padding).unwrap();
        let fast = Fused::max_pool(traced(&x), side, stride, padding).unwrap();
        assert_eq!(ours.as_vec(), fast.as_vec());
        assert_eq!(backward(ours).get(&x).as_vec(), backward_fused(fast).get(&x).as_vec());
    }
    let (ours, fast) =
        (Composed::mean_over_space(traced(&x)).unwrap(), Fused::mean_over_space(traced(&x)).unwrap());
    assert_near("mean", &ours.as_vec(), &fast.as_vec());
    assert_near("mean", &backward(ours).get(&x).as_vec(), &backward(fast).get(&x).as_vec());
}

#[test]
fn linear_layers_agree_with_the_fast_ones() {
    let x: Rows<7, Cpu> = numbers((3, Const), 3);
    let weight: Tensor<Rank2<4, 7>, f32, Cpu> = numbers(Default::default(), 4);
    let bias = numbers(Rank1::<4>::default(), 5);
    let ours = Composed::connect(traced(&x), &weight, &bias, 0.1).unwrap();
    let fast = Fused::connect(traced(&x), &weight, &bias, 0.1).unwrap();
    assert_near("connect", &ours.as_vec(), &fast.as_vec());
    let (ours, fast) = (backward(ours), backward(fast));
    assert_near("input", &ours.get(&x).as_vec(), &fast.get(&x).as_vec());
    assert_near("weight", &ours.get(&weight).as_vec(), &fast.get(&weight).as_vec());
    assert_near("bias", &ours.get(&bias).as_vec(), &fast.get(&bias).as_vec());
}
