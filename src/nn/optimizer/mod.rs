//! What moves parameters against their gradients, one named parameter at a time, with PyTorch's numbers. It owns
//! what it remembers of earlier gradients as plain numbers, so that a run can be checkpointed and go on bit for
//! bit; it knows no network and no device.

mod adam;
mod method;
mod sgd;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use method::Method;

use super::error::Error;
use super::state_dict::{StateDict, Values};

/// How many values one task updates.
const BLOCK: usize = 1 << 15;

/// The counter in a state dict.
const STEPS: &str = "steps";

/// A method, how many steps it has taken, and what it remembers of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimizer {
    method: Method,
    weight_decay: f64,
    steps: u64,
    /// For each parameter its buffers, as many as [`Method::buffers`] names.
    buffers: BTreeMap<String, Vec<Vec<f32>>>,
}

impl Optimizer {
    /// An optimizer that has not yet seen a gradient.
    #[must_use]
    pub fn new(method: Method, weight_decay: f64) -> Optimizer {
        Optimizer { method, weight_decay, steps: 0, buffers: BTreeMap::new() }
    }

    /// How many steps it has taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Everything a checkpoint must keep beside what [`Optimizer::new`] takes: `steps`, and for each parameter
    /// updated so far its buffers by PyTorch's names, such as `<parameter>.exp_avg`.
    #[must_use]
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::default();
        let steps = i64::try_from(self.steps).expect("nobody takes 2^63 steps");
        state.push(STEPS.into(), vec![], Values::I64(vec![steps]));
        for (parameter, buffers) in &self.buffers {
            for (name, values) in self.method.buffers().iter().zip(buffers) {
                let shape = vec![values.len()];
                state.push(format!("{parameter}.{name}"), shape, Values::F32(values.clone()));
            }
        }
        state
    }

    /// The optimizer that gave this state.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if no optimizer of this method gives such a state.
    pub fn from_state(method: Method, weight_decay: f64, state: &StateDict) -> Result<Optimizer, Error> {
        let unreadable = |name: &str| Error::Unreadable(format!("{name} is not what this optimizer keeps"));
        let mut optimizer = Optimizer::new(method, weight_decay);
        for (name, entry) in state.iter() {
            let (parameter, buffer) = name.rsplit_once('.').unwrap_or(("", name));
            match &entry.values {
                Values::I64(steps) if name == STEPS && steps.len() == 1 => {
                    optimizer.steps = u64::try_from(steps[0]).map_err(|_| unreadable(name))?;
                }
                Values::F32(values) if method.buffers().contains(&buffer) => {
                    let buffers = method.buffers().iter().map(|buffer| {
                        let name = format!("{parameter}.{buffer}");
                        match state.get(&name).map(|entry| &entry.values) {
                            Some(Values::F32(found)) if found.len() == values.len() => Ok(found.clone()),
                            _ => Err(unreadable(&name)),
                        }
                    });
                    if !optimizer.buffers.contains_key(parameter) {
                        optimizer.buffers.insert(parameter.to_owned(), buffers.collect::<Result<_, _>>()?);
                    }
                }
                _ => return Err(unreadable(name)),
            }
        }
        Ok(optimizer)
    }

    /// Begins a step, which then visits every parameter once.
    pub(super) fn begin_step(&mut self, lr: f64) -> Step<'_> {
        self.steps += 1;
        Step { optimizer: self, lr }
    }
}

/// One step of the optimizer.
pub(super) struct Step<'a> {
    optimizer: &'a mut Optimizer,
    lr: f64,
}

impl Step<'_> {
    /// Moves a parameter against its gradient.
    pub fn update(&mut self, name: &str, parameter: &mut [f32], gradient: &[f32]) {
        let (lr, Optimizer { method, weight_decay, steps, buffers }) = (self.lr, &mut *self.optimizer);
        let zeros = || method.buffers().iter().map(|_| vec![0.0; parameter.len()]).collect();
        let buffers = buffers.entry(name.to_owned()).or_insert_with(zeros);
        match (*method, buffers.as_mut_slice()) {
            (Method::Adam, [first, second]) => {
                adam::Adam::new(lr, *steps, *weight_decay).update(parameter, gradient, first, second);
            }
            (Method::Adamw, [first, second]) => {
                adam::Adam::decoupled(lr, *steps, *weight_decay).update(parameter, gradient, first, second);
            }
            (Method::Sgd { momentum, nesterov }, [buffer]) => {
                let sgd = sgd::Sgd { lr, weight_decay: *weight_decay, momentum, nesterov };
                sgd.update(parameter, gradient, buffer);
            }
            _ => unreachable!("a parameter has the buffers of its method"),
        }
    }
}
