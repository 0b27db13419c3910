//! The kernels composed from dfdx's device-generic operations: what a GPU runs, checked on the CPU against
//! the fused loops of `cpu/`.
//!
//! Only operations whose code is in the binary: a copying `reshape`, `concat_along` and `stack` would be
//! compiled on the user's machine. So copies go through an identity `gather`, and padding is a mask.

use std::mem::swap;

use dfdx::prelude::*;

use super::kernels::{
    Answer, Backend, Convolution, Filters, Kernels, Maps, Moments, Norm, PerChannel, Prepared, Rows,
};
use super::tape::{Recorder, Traced};

/// Axes known only at run time.
type Loose<D, T = NoneTape> = Tensor<(usize, usize, usize, usize), f32, D, T>;

/// Nothing but dfdx's own operations.
#[derive(Debug, Default, Clone, Copy)]
pub struct Composed;

impl Backend for Composed {
    type Prepared = ();
}

impl<D: Device<f32>> Kernels<D> for Composed {
    fn convolve<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, D>,
        filters: &Filters<O, PER_GROUP, K, D>,
        (factor, offset): (&PerChannel<O, D>, &PerChannel<O, D>),
        how: Convolution,
        shortcut: Option<Maps<O, D>>,
        _prepared: &Prepared<Composed>,
    ) -> Answer<Maps<O, D>, D> {
        let filters = filters.clone().try_mul(factor.clone().try_broadcast()?)?;
        let mut y = convolve(x, &filters, Some(offset), Convolution { negative_slope: 1.0, ..how })?;
        if let Some(shortcut) = shortcut {
            y = y.try_add(shortcut)?;
        }
        activate(y, how.negative_slope)
    }

    fn convolve_normalize<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, D, Traced<D>>,
        filters: &Filters<O, PER_GROUP, K, D>,
        bias: Option<&PerChannel<O, D>>,
        how: Convolution,
        norm: Norm<'_, O, D>,
    ) -> Answer<(Maps<O, D, Traced<D>>, Moments), D> {
        normalize(convolve(x, filters, bias, how)?, norm)
    }

    fn convolve_mapped<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, D>,
        filters: &Filters<O, PER_GROUP, K, D>,
        bias: Option<&PerChannel<O, D>>,
        how: Convolution,
        (factor, offset): (&PerChannel<O, D>, &PerChannel<O, D>),
        _prepared: &Prepared<Composed>,
    ) -> Answer<Maps<O, D>, D> {
        affine(convolve(x, filters, bias, how)?, factor, offset)
    }

    // dfdx's own `max` would give the whole gradient to each of several equal values; here a later place of the
    // window wins only if it is larger.
    fn max_pool<const C: usize, T: Recorder<D>>(
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
                Some(largest) => largest
                    .try_ge(&value)?
                    .try_choose(largest.put_tape(rest), value.retaped::<T>())?
                    .split_tape(),
            };
            largest = Some(value);
            tape = rest;
        }
        let y = largest.expect("a window has a place").put_tape(tape);
        y.try_reshape_like(&(batch, Const, window.out_height(), window.out_width()))
    }

    fn mean_over_space<const C: usize, T: Recorder<D>>(x: Maps<C, D, T>) -> Answer<Rows<C, D, T>, D> {
        x.try_mean::<_, Axes2<2, 3>>()
    }

    fn connect<const I: usize, const O: usize, T: Tape<f32, D>>(
        x: Rows<I, D, T>,
        weight: &Tensor<Rank2<O, I>, f32, D>,
        bias: &PerChannel<O, D>,
        negative_slope: f32,
    ) -> Answer<Rows<O, D, T>, D> {
        let y = x.try_matmul(weight.retaped::<T>().try_permute()?)?;
        let y = bias.retaped::<T>().try_broadcast_like(y.shape())?.try_add(y)?;
        activate(y, negative_slope)
    }
}

/// act(x * filters + bias).
///
/// The tape keeps the input and unfolds it again in the backward pass, because the unfolded input is as many
/// times larger as a filter has values.
fn convolve<
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

/// The norm of x, and the moments of x.
fn normalize<const C: usize, D: Device<f32>>(
    x: Maps<C, D, Traced<D>>,
    Norm { scale, shift, eps, negative_slope, shortcut }: Norm<'_, C, D>,
) -> Answer<(Maps<C, D, Traced<D>>, Moments), D> {
    let shape = *x.shape();
    let mean = x.with_empty_tape().try_mean::<Rank1<C>, _>()?;
    let means = mean.as_vec();
    let x = x.try_sub(mean.try_broadcast_like(&shape)?)?;
    let variance = x.with_empty_tape().try_square()?.try_mean::<Rank1<C>, _>()?;
    let variances = variance.as_vec();
    let deviation = variance.try_add(eps)?.try_sqrt()?.try_broadcast_like(&shape)?;
    let mut y = affine(x.try_div(deviation)?, scale, shift)?;
    if let Some(shortcut) = shortcut {
        y = y.try_add(shortcut)?;
    }
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    Ok((activate(y, negative_slope)?, Moments { mean: wide(means), variance: wide(variances) }))
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
