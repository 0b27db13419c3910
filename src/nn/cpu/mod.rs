//! The kernels on the CPU: ties typed tensors and their tapes to the loops over slices in this folder, which
//! know neither. Every sum runs in an order that does not depend on the number of threads, so results are
//! the same bit for bit on one core and on many.

mod affine;
mod convolution;
mod dots;
mod elementwise;
mod finish;
mod fresh;
mod geometry;
mod lanes;
mod layouts;
mod level;
mod matrix;
mod microkernel;
mod norm;
mod points;
mod pool;
mod product;
mod scratch;
mod shifted;
mod shifts;
mod sums;
mod tiles;
mod unfolded;
#[cfg(target_arch = "x86_64")]
mod wide;
mod winograd;

use std::mem::take;

use dfdx::prelude::*;

use super::kernels::{
    Answer, Backend, Convolution, Filters, Kernels, Maps, Moments, Norm, PerChannel, Prepared, Rows, Source,
};
use super::tape::{Gradient, Recorder, Traced};
use convolution::InputGradient;
use finish::Output;
use geometry::Geometry;
use level::Level;
use product::Rounding;
use sums::sum;

/// What `benches/` measures.
pub mod bench {
    pub use super::convolution::{InputGradient, Prepared, forward, gradients};
    pub use super::finish::Output;
    pub use super::geometry::Geometry;
    pub use super::level::Level;
    pub use super::product::Rounding;
}

/// The widest vector instructions that the products of matrices use on this machine, in which training spends
/// its time.
#[must_use]
pub fn instructions() -> &'static str {
    Level::in_use().name()
}

/// The loops of this folder.
#[derive(Debug, Default, Clone, Copy)]
pub struct Fused;

impl Backend for Fused {
    type Prepared = convolution::Prepared;
}

impl Kernels<Cpu> for Fused {
    fn convolve<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, Cpu>,
        filters: &Filters<O, PER_GROUP, K, Cpu>,
        (factor, offset): (&PerChannel<O, Cpu>, &PerChannel<O, Cpu>),
        how: Convolution,
        shortcut: Option<Maps<O, Cpu>>,
        prepared: &Prepared<Fused>,
    ) -> Answer<Maps<O, Cpu>, Cpu> {
        let (batch, _, height, width) = *x.shape();
        let geometry = geometry::<I, O, PER_GROUP, K>(how, height, width);
        let shortcut = shortcut.as_ref().map(values);
        let negative_slope = if shortcut.is_some() { 1.0 } else { how.negative_slope };
        let finish = Output { bias: Some(values(offset)), negative_slope, map: None };
        let prepare = || {
            let filters = elementwise::scaled(values(filters), values(factor));
            convolution::Prepared::new(&geometry, &filters, (Rounding::Plain, Level::in_use()))
        };
        let join = |sample: usize, y: &mut [f32]| {
            if let Some(shortcut) = shortcut {
                elementwise::join(y, &shortcut[sample * y.len()..][..y.len()], how.negative_slope);
            }
        };
        let filters = get_or_prepare(prepared, prepare);
        let (y, _) = convolution::forward(&geometry, values(&x), filters, finish, &join);
        x.device().try_tensor_from_vec(y, (batch, Const, geometry.out_height(), geometry.out_width()))
    }

    fn convolve_mapped<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, Cpu>,
        filters: &Filters<O, PER_GROUP, K, Cpu>,
        bias: Option<&PerChannel<O, Cpu>>,
        how: Convolution,
        (factor, offset): (&PerChannel<O, Cpu>, &PerChannel<O, Cpu>),
        prepared: &Prepared<Fused>,
    ) -> Answer<Maps<O, Cpu>, Cpu> {
        let (batch, _, height, width) = *x.shape();
        let geometry = geometry::<I, O, PER_GROUP, K>(how, height, width);
        let map = Some((values(factor), values(offset)));
        let finish = Output { bias: bias.map(values), negative_slope: how.negative_slope, map };
        let how = (Rounding::Plain, Level::in_use());
        let prepare = || convolution::Prepared::new(&geometry, values(filters), how);
        let filters = get_or_prepare(prepared, prepare);
        let (y, _) = convolution::forward(&geometry, values(&x), filters, finish, &|_, _| ());
        x.device().try_tensor_from_vec(y, (batch, Const, geometry.out_height(), geometry.out_width()))
    }

    // One operation, so that the gradient of what lies between the convolution and the norm takes the place of the
    // norm's own.
    fn convolve_normalize<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, Cpu, Traced<Cpu>>,
        filters: &Filters<O, PER_GROUP, K, Cpu>,
        bias: Option<&PerChannel<O, Cpu>>,
        how: Convolution,
        Norm { scale, shift, eps, negative_slope, shortcut }: Norm<'_, O, Cpu>,
    ) -> Answer<(Maps<O, Cpu, Traced<Cpu>>, Moments), Cpu> {
        let (x, mut tape) = x.split_tape();
        let (x_gradient, z_gradient) = (tape.gradient(), Gradient::before(negative_slope));
        let (batch, _, height, width) = *x.shape();
        let geometry = geometry::<I, O, PER_GROUP, K>(how, height, width);
        let finish = Output { bias: bias.map(values), negative_slope: how.negative_slope, map: None };
        let prepared = (Rounding::Careful, Level::in_use());
        let prepared = convolution::Prepared::new(&geometry, values(filters), prepared);
        let measure =
            |_: usize, y: &mut [f32]| y.chunks_exact(geometry.out_space()).map(sums::powers).collect();
        let (y, powers): (_, Vec<Vec<_>>) =
            convolution::forward(&geometry, values(&x), &prepared, finish, &measure);
        let moments = norm::moments(&powers.concat(), O, batch * geometry.out_space());
        let map = norm::Standardization::new(&moments, values(scale), values(shift), eps);
        let (shortcut, shortcut_gradient) = shortcut
            .map(|shortcut| {
                let (shortcut, its_tape) = shortcut.split_tape();
                let gradient = its_tape.gradient();
                tape = take(&mut tape).merge(its_tape);
                (shortcut, gradient)
            })
            .unzip();
        let more = shortcut.as_ref().map(values);
        let z = elementwise::rescale(&y, batch, (&map.factor, &map.offset), more, negative_slope);
        let shape = (batch, Const, geometry.out_height(), geometry.out_width());
        let z: Maps<O, Cpu> = x.device().try_tensor_from_vec(z, shape)?;
        let (scale, shift) = (scale.clone(), shift.clone());
        let (filters, bias) = (filters.clone(), bias.cloned());
        let mut tape = tape.of(z_gradient.clone());
        tape.add_backward_op(move |grads| {
            let gradient = z_gradient.take().expect("maps are read by something");
            let sums = map.gradient_sums(&y, &gradient, batch);
            let bias_parts = |dy: &[f32]| match bias {
                Some(_) => dy.chunks_exact(geometry.out_space()).map(|dy| [sum(dy)]).collect(),
                None => Vec::new(),
            };
            let fill = |sample: usize, dy: &mut [f32]| {
                let here = sample * dy.len()..(sample + 1) * dy.len();
                map.input_gradient(&y[here.clone()], &gradient[here], dy, (batch, &sums), how.negative_slope);
                bias_parts(dy)
            };
            let gradients = |dx: InputGradient<'_>| -> (_, Vec<Vec<_>>) {
                let level = Level::in_use();
                convolution::gradients(&geometry, values(&x), values(&filters), &fill, dx, level)
            };
            let slope = x_gradient.negative_slope();
            let mut dx = if how.input == Source::First { x_gradient.take() } else { None };
            let (dw, parts) = match (how.input, &mut dx) {
                (Source::Images, _) => gradients(InputGradient::Unused),
                (Source::Again, dx) => gradients(InputGradient::Fresh(dx.insert(Vec::new()), 1.0)),
                (Source::Layer | Source::First, Some(dx)) => gradients(InputGradient::Added(dx, slope)),
                (Source::Layer | Source::First, dx) => {
                    gradients(InputGradient::Fresh(dx.insert(Vec::new()), slope))
                }
            };
            if let Some(dx) = dx {
                x_gradient.place(dx);
            }
            if let Some(shortcut_gradient) = shortcut_gradient {
                shortcut_gradient.place(gradient);
            }
            if let Some(bias) = &bias {
                let totals = elementwise::totals(&parts.concat(), O);
                let totals: Vec<f32> = totals.iter().map(|[total]| *total as f32).collect();
                elementwise::add(grads.get_or_alloc_mut(bias)?, &totals);
            }
            elementwise::add(grads.get_or_alloc_mut(&scale)?, &sums.scale());
            elementwise::add(grads.get_or_alloc_mut(&shift)?, &sums.shift());
            elementwise::add(grads.get_or_alloc_mut(&filters)?, &dw);
            Ok(())
        });
        Ok((z.put_tape(tape), moments))
    }

    fn max_pool<const C: usize, T: Recorder<Cpu>>(
        x: Maps<C, Cpu, T>,
        side: usize,
        stride: usize,
        padding: usize,
    ) -> Answer<Maps<C, Cpu, T>, Cpu> {
        let (x, tape) = x.split_tape();
        let (batch, channels, height, width) = *x.shape();
        let window = pool::Window { side, stride, padding, height, width };
        let shape = (batch, channels, window.out_height(), window.out_width());
        if !T::OWNS_TAPE {
            let y: Maps<C, Cpu> = x.device().try_tensor_from_vec(pool::maxima(&window, values(&x)), shape)?;
            return Ok(y.put_tape(tape));
        }
        let (y, winners) = pool::forward(&window, values(&x));
        let y: Maps<C, Cpu> = x.device().try_tensor_from_vec(y, shape)?;
        // A gradient reaches only the largest values, whose signs are those of the results.
        let (x_gradient, y_gradient) = (tape.gradient(), Gradient::before(tape.gradient().negative_slope()));
        let mut tape = tape.of(y_gradient.clone());
        tape.add_backward_op(move |_| {
            let dy = y_gradient.take().expect("maps are read by something");
            x_gradient.place(pool::input_gradient(&window, &winners, &dy));
            Ok(())
        });
        Ok(y.put_tape(tape))
    }

    fn mean_over_space<const C: usize, T: Recorder<Cpu>>(x: Maps<C, Cpu, T>) -> Answer<Rows<C, Cpu, T>, Cpu> {
        let (x, tape) = x.split_tape();
        let (batch, _, height, width) = *x.shape();
        let space = height * width;
        let y = pool::means(values(&x), space);
        let y: Rows<C, Cpu> = x.device().try_tensor_from_vec(y, (batch, Const))?;
        let (gradient, out) = (tape.gradient(), y.ghost());
        let mut tape = tape.of(Gradient::before(1.0));
        tape.add_backward_op(move |grads| {
            let dy = take(&mut **grads.get_or_alloc_mut(&out)?);
            gradient.place(pool::means_gradient(&dy, values(&x), gradient.negative_slope()));
            Ok(())
        });
        Ok(y.put_tape(tape))
    }

    fn connect<const I: usize, const O: usize, T: Tape<f32, Cpu>>(
        x: Rows<I, Cpu, T>,
        weight: &Tensor<Rank2<O, I>, f32, Cpu>,
        bias: &PerChannel<O, Cpu>,
        negative_slope: f32,
    ) -> Answer<Rows<O, Cpu, T>, Cpu> {
        let (x, mut tape) = x.split_tape();
        let (batch, _) = *x.shape();
        let y = affine::forward(values(&x), values(weight), values(bias), negative_slope);
        let y: Rows<O, Cpu> = x.device().try_tensor_from_vec(y, (batch, Const))?;
        let (kept, weight, bias) = (y.clone(), weight.clone(), bias.clone());
        tape.add_backward_op(move |grads| {
            let mut dy = take(&mut **grads.get_or_alloc_mut(&kept)?);
            elementwise::undo_activation(&mut dy, values(&kept), negative_slope);
            elementwise::sum_per_channel(&dy, batch, grads.get_or_alloc_mut(&bias)?);
            affine::add_weight_gradient(values(&x), &dy, O, grads.get_or_alloc_mut(&weight)?);
            affine::add_input_gradient(&dy, values(&weight), O, grads.get_or_alloc_mut(&x)?);
            Ok(())
        });
        Ok(y.put_tape(tape))
    }
}

/// What is prepared, or else comes to be. Several threads may prepare the same at once: none must wait for another, because
/// preparing is done in parallel, and a thread that waits for its part meanwhile computes another that needs the same.
fn get_or_prepare(
    prepared: &Prepared<Fused>,
    prepare: impl FnOnce() -> convolution::Prepared,
) -> &convolution::Prepared {
    prepared.get().unwrap_or_else(|| {
        let ready = prepare();
        prepared.get_or_init(|| ready)
    })
}

/// The sizes of a convolution.
fn geometry<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
    how: Convolution,
    height: usize,
    width: usize,
) -> Geometry {
    const { assert!(I.is_multiple_of(PER_GROUP), "groups divide the channels") };
    let Convolution { stride, padding, .. } = how;
    Geometry { channels: (I, O), groups: I / PER_GROUP, kernel: K, stride, padding, height, width }
}

/// The values of a contiguous tensor, row-major.
fn values<S: Shape>(tensor: &Tensor<S, f32, Cpu>) -> &[f32] {
    let first: *const f32 = &raw const tensor[S::Concrete::default()];
    for axis in (0..S::NUM_DIMS).filter(|&axis| tensor.shape().concrete()[axis] > 1) {
        let mut index = S::Concrete::default();
        index[axis] = 1;
        let expected = first.wrapping_add(tensor.shape().strides()[axis]);
        assert!(std::ptr::eq(&raw const tensor[index], expected), "kernels take contiguous tensors");
    }
    // SAFETY: by the check above the tensor is contiguous, so the element at index 0 is the first of
    // `num_elements` values in one Vec, which lives and stays unchanged as long as the tensor is borrowed.
    unsafe { std::slice::from_raw_parts(first, tensor.shape().num_elements()) }
}
