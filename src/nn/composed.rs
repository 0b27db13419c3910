//! The kernels composed from dfdx's device-generic operations: what a GPU runs, checked on the CPU against
//! the fused loops of `cpu/`.
//!
//! Only operations whose code is in the binary: a copying `reshape`, `concat_along` and `stack` would be
//! compiled on the user's machine. So copies go through an identity `gather`, and padding is a mask.

use std::mem::swap;

use dfdx::prelude::*;

use super::kernels::{Answer, Convolution, Filters, Maps, Moments, PerChannel, Rows, Traced};

/// Axes known only at run time.
type Loose<D, T = NoneTape> = Tensor<(usize, usize, usize, usize), f32, D, T>;

/// As [`Kernels::convolve`](super::kernels::Kernels::convolve). The tape keeps the input and unfolds it again
/// in the backward pass, because the unfolded input is as many times larger as a filter has values.
pub fn convolve<
    const I: usize,
    const O: usize,
    const PER_GROUP: usize,
    const K: usize,
    D: Device<f32>,
    T: Tape<f32, D>,
>(
    x: Maps<I, D, T>,
    filters: &Filters<O, PER_GROUP, K, D>,
    bias: Option<&PerChannel<O, D>>,
    how: Convolution,
) -> Answer<Maps<O, D, T>, D> {
    let (x, mut tape) = x.split_tape();
    let y = correlate(x.clone(), filters, how)?;
    let (kept, out) = (filters.clone(), y.ghost());
    tape.add_backward_op(move |outer| {
        // The inner tape adds to the outer one's gradients of x and the filters, lent to it.
        let mut inner = Gradients::leaky();
        swap(inner.get_or_alloc_mut(&x)?, outer.get_or_alloc_mut(&x)?);
        swap(inner.get_or_alloc_mut(&kept)?, outer.get_or_alloc_mut(&kept)?);
        outer.try_alloc_for(&out)?;
        let dy = outer.get(&out);
        let y = correlate(x.trace(inner), &kept, how)?;
        let mut inner = y.try_mul(dy)?.try_sum::<Rank0, _>()?.try_backward()?;
        swap(inner.get_or_alloc_mut(&x)?, outer.get_or_alloc_mut(&x)?);
        swap(inner.get_or_alloc_mut(&kept)?, outer.get_or_alloc_mut(&kept)?);
        Ok(())
    });
    let mut y = y.put_tape(tape);
    if let Some(bias) = bias {
        y = bias.retaped::<T>().try_broadcast_like(y.shape())?.try_add(y)?;
    }
    activate(y, how.negative_slope)
}

/// As [`Kernels::normalize`](super::kernels::Kernels::normalize).
pub fn normalize<const C: usize, D: Device<f32>>(
    x: Maps<C, D, Traced<D>>,
    scale: &PerChannel<C, D>,
    shift: &PerChannel<C, D>,
    eps: f32,
    negative_slope: f32,
) -> Answer<(Maps<C, D, Traced<D>>, Moments), D> {
    let shape = *x.shape();
    let mean = x.with_empty_tape().try_mean::<Rank1<C>, _>()?;
    let means = mean.as_vec();
    let x = x.try_sub(mean.try_broadcast_like(&shape)?)?;
    let variance = x.with_empty_tape().try_square()?.try_mean::<Rank1<C>, _>()?;
    let variances = variance.as_vec();
    let deviation = variance.try_add(eps)?.try_sqrt()?.try_broadcast_like(&shape)?;
    let y = affine(x.try_div(deviation)?, scale, shift)?;
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    Ok((activate(y, negative_slope)?, Moments { mean: wide(means), variance: wide(variances) }))
}

/// As [`Kernels::rescale`](super::kernels::Kernels::rescale).
pub fn rescale<const C: usize, D: Device<f32>>(
    x: Maps<C, D>,
    scale: &PerChannel<C, D>,
    shift: &PerChannel<C, D>,
    negative_slope: f32,
) -> Answer<Maps<C, D>, D> {
    activate(affine(x, scale, shift)?, negative_slope)
}

/// As [`Kernels::max_pool`](super::kernels::Kernels::max_pool). dfdx's own `max` would give the whole gradient
/// to each of several equal values; here a later place of the window wins only if it is larger.
pub fn max_pool<const C: usize, D: Device<f32>, T: Tape<f32, D>>(
    x: Maps<C, D, T>,
    side: usize,
    stride: usize,
    padding: usize,
) -> Answer<Maps<C, D, T>, D> {
    let (batch, _, height, width) = *x.shape();
    let window = Window { side, stride, padding, height, width };
    let (planes, space) = (batch * C, window.out_height() * window.out_width());
    let device = x.device().clone();
    let (x, mut tape) = x.try_reshape_like(&(planes, height * width))?.split_tape();
    let mut largest: Option<Tensor<(usize, usize), f32, D>> = None;
    for tap in 0..side * side {
        let (index, beyond): (Vec<usize>, Vec<f32>) = (0..space)
            .map(|out| window.source(out, tap).map_or((0, f32::NEG_INFINITY), |source| (source, 0.0)))
            .unzip();
        let index: Tensor<(usize,), usize, D> = device.try_tensor_from_vec(index, (space,))?;
        let index = index.try_broadcast_like::<_, Axis<0>>(&(planes, space))?;
        let mut value = x.clone().put_tape(tape).try_gather(index)?;
        if padding > 0 {
            let beyond: Tensor<(usize,), f32, D> = device.try_tensor_from_vec(beyond, (space,))?;
            value = value.try_add(beyond.try_broadcast_like::<_, Axis<0>>(&(planes, space))?)?;
        }
        let (value, rest) = value.split_tape();
        let (value, rest) = match largest.take() {
            None => (value, rest),
            Some(largest) => {
                largest.try_ge(&value)?.try_choose(largest.put_tape(rest), value.retaped::<T>())?.split_tape()
            }
        };
        largest = Some(value);
        tape = rest;
    }
    let y = largest.expect("a window has a place").put_tape(tape);
    y.try_reshape_like(&(batch, Const, window.out_height(), window.out_width()))
}

/// As [`Kernels::join`](super::kernels::Kernels::join).
pub fn join<const C: usize, D: Device<f32>, T: Tape<f32, D>>(
    x: Maps<C, D, T>,
    y: Maps<C, D, T>,
    negative_slope: f32,
) -> Answer<Maps<C, D, T>, D> {
    activate(x.try_add(y)?, negative_slope)
}

/// As [`Kernels::mean_over_space`](super::kernels::Kernels::mean_over_space).
pub fn mean_over_space<const C: usize, D: Device<f32>, T: Tape<f32, D>>(
    x: Maps<C, D, T>,
) -> Answer<Rows<C, D, T>, D> {
    x.try_mean::<_, Axes2<2, 3>>()
}

/// As [`Kernels::connect`](super::kernels::Kernels::connect).
pub fn connect<const I: usize, const O: usize, D: Device<f32>, T: Tape<f32, D>>(
    x: Rows<I, D, T>,
    weight: &Tensor<Rank2<O, I>, f32, D>,
    bias: &PerChannel<O, D>,
    negative_slope: f32,
) -> Answer<Rows<O, D, T>, D> {
    let y = x.try_matmul(weight.retaped::<T>().try_permute()?)?;
    let y = bias.retaped::<T>().try_broadcast_like(y.shape())?.try_add(y)?;
    activate(y, negative_slope)
}

/// x for x > 0, else `negative_slope` x.
fn activate<S: Shape, D: Device<f32>, T: Tape<f32, D>>(
    x: Tensor<S, f32, D, T>,
    negative_slope: f32,
) -> Answer<Tensor<S, f32, D, T>, D> {
    if negative_slope == 1.0 {
        return Ok(x);
    }
    if negative_slope == 0.0 {
        return x.try_relu();
    }
    let positive = x.with_empty_tape().try_relu()?;
    let negative = x.try_negate()?.try_relu()?.try_mul(negative_slope)?;
    positive.try_sub(negative)
}

/// scale x + shift.
fn affine<const C: usize, D: Device<f32>, T: Tape<f32, D>>(
    x: Maps<C, D, T>,
    scale: &PerChannel<C, D>,
    shift: &PerChannel<C, D>,
) -> Answer<Maps<C, D, T>, D> {
    let shape = *x.shape();
    let x = scale.retaped::<T>().try_broadcast_like(&shape)?.try_mul(x)?;
    shift.retaped::<T>().try_broadcast_like(&shape)?.try_add(x)
}

/// The bare convolution as one batched product of unfolded inputs and filters.
fn correlate<
    const I: usize,
    const O: usize,
    const PER_GROUP: usize,
    const K: usize,
    D: Device<f32>,
    T: Tape<f32, D>,
>(
    x: Maps<I, D, T>,
    filters: &Filters<O, PER_GROUP, K, D>,
    how: Convolution,
) -> Answer<Maps<O, D, T>, D> {
    let (batch, _, height, width) = *x.shape();
    let window = Window { side: K, stride: how.stride, padding: how.padding, height, width };
    let (groups, taps) = (I / PER_GROUP, K * K);
    let (out_height, out_width) = (window.out_height(), window.out_width());
    let space = out_height * out_width;
    let device = x.device().clone();

    // The filters' way must be on the tape, or their gradient ends at the copy.
    let filters = filters.retaped::<T>().try_reshape_like(&(groups, O / groups, PER_GROUP, taps))?;
    let filters = contiguous(filters.try_permute::<_, Axes4<0, 3, 2, 1>>()?)?;
    let filters = filters.try_reshape_like(&(groups, taps * PER_GROUP, O / groups))?;

    let (index, inside): (Vec<usize>, Vec<f32>) = (0..space * taps)
        .map(|i| window.source(i / taps, i % taps).map_or((0, 0.0), |source| (source, 1.0)))
        .unzip();
    let index: Tensor<(usize,), usize, D> = device.try_tensor_from_vec(index, (space * taps,))?;
    let index = index.try_broadcast_like::<_, Axes2<0, 1>>(&(groups, batch, space * taps))?;
    let x = x
        .try_reshape_like(&(batch, groups, PER_GROUP, height * width))?
        .try_permute::<_, Axes4<1, 0, 3, 2>>()?;
    let mut columns: Loose<D, T> = x.try_gather(index)?; // (groups, batch, space * taps, in / groups)
    if how.padding > 0 {
        let inside: Tensor<(usize,), f32, D> = device.try_tensor_from_vec(inside, (space * taps,))?;
        columns = columns.try_mul(inside.try_broadcast_like::<_, Axes3<0, 1, 3>>(&(
            groups,
            batch,
            space * taps,
            PER_GROUP,
        ))?)?;
    }
    let y = columns.try_reshape_like(&(groups, batch * space, taps * PER_GROUP))?.try_matmul(filters)?;
    let y: Loose<D, T> = y.try_reshape_like(&(groups, batch, space, O / groups))?;
    contiguous(y.try_permute::<_, Axes4<1, 0, 3, 2>>()?)?
        .try_reshape_like(&(batch, Const::<O>, out_height, out_width))
}

/// A row-major copy.
fn contiguous<D: Device<f32>, T: Tape<f32, D>>(x: Loose<D, T>) -> Answer<Loose<D, T>, D> {
    let (a, b, c, last) = *x.shape();
    let index: Tensor<(usize,), usize, D> = x.device().try_tensor_from_vec((0..last).collect(), (last,))?;
    x.try_gather(index.try_broadcast_like::<_, Axes3<0, 1, 2>>(&(a, b, c, last))?)
}

/// Square windows over a padded plane.
struct Window {
    side: usize,
    stride: usize,
    padding: usize,
    height: usize,
    width: usize,
}

impl Window {
    fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.side) / self.stride + 1
    }

    fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.side) / self.stride + 1
    }

    /// The place in the plane of place `tap` of the window of output `out`, unless it lies beyond the edge.
    fn source(&self, out: usize, tap: usize) -> Option<usize> {
        let row = (out / self.out_width() * self.stride + tap / self.side).checked_sub(self.padding)?;
        let column = (out % self.out_width() * self.stride + tap % self.side).checked_sub(self.padding)?;
        (row < self.height && column < self.width).then(|| row * self.width + column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::{Purpose, Stream};
    use crate::nn::kernels::{Kernels, Source};

    fn numbers<S: Shape>(shape: S, seed: u64) -> Tensor<S, f32, Cpu> {
        let mut stream = Stream::new(seed, Purpose::Init, 0, 0);
        // Eighths, so that equal values do occur.
        let values =
            (0..shape.num_elements()).map(|_| (stream.normal() * 8.0).round() as f32 / 8.0).collect();
        Cpu::default().tensor_from_vec(values, shape)
    }

    /// The gradients of a sum of y weighted by fixed numbers.
    fn backward<S: Shape>(y: Tensor<S, f32, Cpu, Traced<Cpu>>) -> Gradients<f32, Cpu> {
        let weights = numbers(*y.shape(), 99);
        (y * weights).sum::<Rank0, _>().backward()
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
        let how = Convolution { stride, padding, negative_slope, input: Source::Layer };
        let x: Maps<I, Cpu> = numbers((3, Const, 7, 6), 1);
        let filters: Filters<O, PER_GROUP, K, Cpu> = numbers(Default::default(), 2);
        let bias: PerChannel<O, Cpu> = numbers(Default::default(), 3);
        let ours = convolve(x.leaky_trace(), &filters, Some(&bias), how).unwrap();
        let fast = Cpu::convolve(x.leaky_trace(), &filters, Some(&bias), how).unwrap();
        assert_near(&what, &ours.as_vec(), &fast.as_vec());
        let (ours, fast) = (backward(ours), backward(fast));
        assert_near(&what, &ours.get(&x).as_vec(), &fast.get(&x).as_vec());
        assert_near(&what, &ours.get(&filters).as_vec(), &fast.get(&filters).as_vec());
        assert_near(&what, &ours.get(&bias).as_vec(), &fast.get(&bias).as_vec());
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
    fn norms_agree_with_the_fast_ones() {
        let x: Maps<5, Cpu> = numbers((4, Const, 3, 6), 1);
        let (scale, shift) = (numbers(Rank1::<5>::default(), 2), numbers(Rank1::<5>::default(), 3));
        for slope in [0.0, 0.1, 1.0] {
            let (ours, our_moments) = normalize(x.leaky_trace(), &scale, &shift, 1e-5, slope).unwrap();
            let (fast, moments) = Cpu::normalize(x.leaky_trace(), &scale, &shift, 1e-5, slope).unwrap();
            assert_near("normalize", &ours.as_vec(), &fast.as_vec());
            for (ours, fast) in our_moments.variance.iter().zip(&moments.variance) {
                assert!((ours - fast).abs() < 1e-6);
            }
            let (ours, fast) = (backward(ours), backward(fast));
            assert_near("input", &ours.get(&x).as_vec(), &fast.get(&x).as_vec());
            assert_near("scale", &ours.get(&scale).as_vec(), &fast.get(&scale).as_vec());
            assert_near("shift", &ours.get(&shift).as_vec(), &fast.get(&shift).as_vec());
            let ours = rescale(x.clone(), &scale, &shift, slope).unwrap();
            let fast = Cpu::rescale(x.clone(), &scale, &shift, slope).unwrap();
            assert_near("rescale", &ours.as_vec(), &fast.as_vec());
        }
    }

    #[test]
    fn pools_agree_with_the_fast_ones_even_on_ties() {
        let x: Maps<2, Cpu> = numbers((3, Const, 9, 8), 1);
        for (side, stride, padding) in [(2, 2, 0), (3, 2, 1)] {
            let ours = max_pool(x.leaky_trace(), side, stride, padding).unwrap();
            let fast = Cpu::max_pool(x.leaky_trace(), side, stride, padding).unwrap();
            assert_eq!(ours.as_vec(), fast.as_vec());
            assert_eq!(backward(ours).get(&x).as_vec(), backward(fast).get(&x).as_vec());
        }
        let (ours, fast) =
            (mean_over_space(x.leaky_trace()).unwrap(), Cpu::mean_over_space(x.leaky_trace()).unwrap());
        assert_near("mean", &ours.as_vec(), &fast.as_vec());
        assert_near("mean", &backward(ours).get(&x).as_vec(), &backward(fast).get(&x).as_vec());
    }

    #[test]
    fn joins_and_linear_layers_agree_with_the_fast_ones() {
        let x: Maps<2, Cpu> = numbers((3, Const, 4, 5), 1);
        let y: Maps<2, Cpu> = numbers((3, Const, 4, 5), 2);
        let ours = join(x.leaky_trace(), y.leaky_trace(), 0.0).unwrap();
        let fast = Cpu::join(x.leaky_trace(), y.leaky_trace(), 0.0).unwrap();
        assert_eq!(ours.as_vec(), fast.as_vec());
        assert_eq!(backward(ours).get(&y).as_vec(), backward(fast).get(&y).as_vec());

        let x: Rows<7, Cpu> = numbers((3, Const), 3);
        let weight: Tensor<Rank2<4, 7>, f32, Cpu> = numbers(Default::default(), 4);
        let bias = numbers(Rank1::<4>::default(), 5);
        let ours = connect(x.leaky_trace(), &weight, &bias, 0.1).unwrap();
        let fast = Cpu::connect(x.leaky_trace(), &weight, &bias, 0.1).unwrap();
        assert_near("connect", &ours.as_vec(), &fast.as_vec());
        let (ours, fast) = (backward(ours), backward(fast));
        assert_near("input", &ours.get(&x).as_vec(), &fast.get(&x).as_vec());
        assert_near("weight", &ours.get(&weight).as_vec(), &fast.get(&weight).as_vec());
        assert_near("bias", &ours.get(&bias).as_vec(), &fast.get(&bias).as_vec());
    }
}
