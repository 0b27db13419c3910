//! The tape of the networks: dfdx's own, and beside it the gradient of the maps that it belongs to. dfdx fills the place of a
//! gradient with zeros before anything is added to it, on one core; here the first part of a gradient becomes it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use dfdx::prelude::*;

use super::kernels::Maps;

/// The gradient of maps, which what made them shares with all that reads them.
///
/// It is the gradient of the maps as they were before their activation: whoever adds its last part applies that of the
/// activation, while maps and gradient are both at hand.
#[derive(Debug, Clone)]
pub struct Gradient {
    values: Rc<RefCell<Option<Vec<f32>>>>,
    negative_slope: f32,
}

impl Gradient {
    /// None yet, of maps that this activation made; 1 is none.
    pub fn before(negative_slope: f32) -> Gradient {
        Gradient { values: Rc::default(), negative_slope }
    }

    /// The factor for negative values of the activation that made the maps.
    pub fn negative_slope(&self) -> f32 {
        self.negative_slope
    }

    /// Whatever has been added so far, if anything.
    pub fn take(&self) -> Option<Vec<f32>> {
        self.values.take()
    }

    /// Sets what [`Gradient::take`] gives.
    ///
    /// # Panics
    /// If something is there, which would be lost.
    pub fn place(&self, values: Vec<f32>) {
        let former = self.values.replace(Some(values));
        assert!(former.is_none(), "a gradient would be lost");
    }
}

/// A tape that records for the backward pass.
pub struct Traced<D: Storage<f32>> {
    tape: OwnedTape<f32, D>,
    gradient: Gradient,
}

/// A tape that may record, and if it does knows the gradient of the maps that it belongs to.
pub trait Recorder<D: Storage<f32>>: Tape<f32, D> {
    /// The gradient of the maps that the tape belongs to.
    fn gradient(&self) -> Gradient;

    /// The tape of maps made from these, with this gradient.
    #[must_use]
    fn of(self, gradient: Gradient) -> Self;
}

impl<D: Storage<f32>> Traced<D> {
    /// The tape alone.
    pub fn into_inner(self) -> OwnedTape<f32, D> {
        self.tape
    }
}

/// Maps for two that read them: what reads the first comes first, and so adds the last part of the gradient.
pub fn twice<const C: usize, D: Device<f32>>(
    x: Maps<C, D, Traced<D>>,
) -> (Maps<C, D, Traced<D>>, Maps<C, D, Traced<D>>) {
    let (x, tape) = x.split_tape();
    let branch = Traced::default().of(tape.gradient());
    (x.clone().put_tape(tape), x.put_tape(branch))
}

impl<D: Storage<f32>> Recorder<D> for Traced<D> {
    fn gradient(&self) -> Gradient {
        self.gradient.clone()
    }

    fn of(self, gradient: Gradient) -> Self {
        Traced { gradient, ..self }
    }
}

impl<D: Storage<f32>> Recorder<D> for NoneTape {
    fn gradient(&self) -> Gradient {
        Gradient::before(1.0)
    }

    fn of(self, _: Gradient) -> Self {
        self
    }
}

impl<D: Storage<f32>> Default for Traced<D> {
    fn default() -> Self {
        Traced { tape: OwnedTape::default(), gradient: Gradient::before(1.0) }
    }
}

impl<D: Storage<f32>> fmt::Debug for Traced<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").field("gradient", &self.gradient).finish_non_exhaustive()
    }
}

impl<D: Storage<f32>> Tape<f32, D> for Traced<D> {
    const OWNS_TAPE: bool = true;

    fn add_backward_op<F>(&mut self, operation: F)
    where
        F: 'static + FnOnce(&mut Gradients<f32, D>) -> Result<(), D::Err>,
    {
        self.tape.add_backward_op(operation);
    }
}

impl<D: Storage<f32>> Merge<NoneTape> for Traced<D> {
    fn merge(self, _: NoneTape) -> Self {
        self
    }
}

impl<D: Storage<f32>> Merge<Traced<D>> for Traced<D> {
    fn merge(self, other: Self) -> Self {
        Traced { tape: self.tape.merge(other.tape), gradient: self.gradient }
    }
}
