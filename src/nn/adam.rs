//! Adam as `torch.optim.Adam` has it, one named parameter at a time. It owns its moments as plain numbers, so
//! that a run can be checkpointed and go on bit for bit; it knows no network and no device.
//!
//! For a parameter p with gradient g, after t steps: g += weight_decay p; m = b1 m + (1 - b1) g;
//! v = b2 v + (1 - b2) g g; p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps).
//! (Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.)

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::state_dict::{StateDict, Values};

/// How many values one task updates.
const BLOCK: usize = 1 << 15;

/// Adam's constants, the learning rate apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamOptions {
    /// How much of each parameter is added to its gradient.
    pub weight_decay: f64,
    /// How much of each moment is kept at a step.
    pub betas: (f64, f64),
    /// Keeps the quotient finite.
    pub eps: f64,
}

impl Default for AdamOptions {
    fn default() -> AdamOptions {
        AdamOptions { weight_decay: 0.0, betas: (0.9, 0.999), eps: 1e-8 }
    }
}

/// The optimizer: its constants, step count and moments.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    options: AdamOptions,
    steps: u64,
    moments: BTreeMap<String, Moments>,
}

/// Running means of a parameter's gradient and of its square.
#[derive(Debug, Clone, PartialEq)]
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Adam {
    /// An optimizer that has not yet seen a gradient.
    #[must_use]
    pub fn new(options: AdamOptions) -> Adam {
        Adam { options, steps: 0, moments: BTreeMap::new() }
    }

    /// How many steps it has taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Everything a checkpoint must keep beside the options: `steps`, and `<parameter>.exp_avg` and
    /// `<parameter>.exp_avg_sq` for each parameter updated so far.
    #[must_use]
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::default();
        let steps = i64::try_from(self.steps).expect("nobody takes 2^63 steps");
        state.push("steps".into(), vec![], Values::I64(vec![steps]));
        for (name, moments) in &self.moments {
            let shape = vec![moments.first.len()];
            state.push(format!("{name}.exp_avg"), shape.clone(), Values::F32(moments.first.clone()));
            state.push(format!("{name}.exp_avg_sq"), shape, Values::F32(moments.second.clone()));
        }
        state
    }

    /// The optimizer that gave this state.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if no optimizer gives such a state.
    pub fn from_state(options: AdamOptions, state: &StateDict) -> Result<Adam, Error> {
        let unreadable = |name: &str| Error::Unreadable(format!("{name} is not what an optimizer keeps"));
        let mut adam = Adam::new(options);
        for (name, entry) in state.iter() {
            match (&entry.values, name.strip_suffix(".exp_avg")) {
                (Values::I64(steps), None) if name == "steps" && steps.len() == 1 => {
                    adam.steps = u64::try_from(steps[0]).map_err(|_| unreadable(name))?;
                }
                (Values::F32(first), Some(parameter)) => {
                    let second = match state.get(&format!("{name}_sq")).map(|entry| &entry.values) {
                        Some(Values::F32(second)) if second.len() == first.len() => second.clone(),
                        _ => return Err(unreadable(&format!("{name}_sq"))),
                    };
                    let moments = Moments { first: first.clone(), second };
                    adam.moments.insert(parameter.to_owned(), moments);
                }
                (Values::F32(_), None) if name.ends_with(".exp_avg_sq") => {}
                _ => return Err(unreadable(name)),
            }
        }
        Ok(adam)
    }

    /// Begins a step, which then visits every parameter once.
    pub(super) fn begin_step(&mut self, lr: f64) -> Step<'_> {
        self.steps += 1;
        Step { adam: self, lr }
    }
}

/// One step of the optimizer.
pub(super) struct Step<'a> {
    adam: &'a mut Adam,
    lr: f64,
}

impl Step<'_> {
    /// Moves a parameter against its gradient.
    pub fn update(&mut self, name: &str, parameter: &mut [f32], gradient: &[f32]) {
        let AdamOptions { weight_decay, betas: (beta1, beta2), eps } = self.adam.options;
        let steps = self.adam.steps as f64;
        let step_size = (self.lr / (1.0 - beta1.powf(steps))) as f32;
        let second_scale = (1.0 - beta2.powf(steps)).sqrt() as f32;
        let (decay, eps) = (weight_decay as f32, eps as f32);
        let [keep1, add1, keep2, add2] = [beta1, 1.0 - beta1, beta2, 1.0 - beta2].map(|b| b as f32);

        let moments = self.adam.moments.entry(name.to_owned()).or_insert_with(|| Moments {
            first: vec![0.0; parameter.len()],
            second: vec![0.0; parameter.len()],
        });
        parameter
            .par_chunks_mut(BLOCK)
            .zip(gradient.par_chunks(BLOCK))
            .zip(moments.first.par_chunks_mut(BLOCK))
            .zip(moments.second.par_chunks_mut(BLOCK))
            .for_each(|(((parameter, gradient), first), second)| {
                for (((p, g), m), v) in parameter.iter_mut().zip(gradient).zip(first).zip(second) {
                    let g = g + decay * *p;
                    *m = keep1 * *m + add1 * g;
                    *v = keep2 * *v + add2 * g * g;
                    *p -= step_size * *m / (v.sqrt() / second_scale + eps);
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(adam: &mut Adam, parameter: &mut [f32], gradient: &[f32]) {
        adam.begin_step(0.1).update("w", parameter, gradient);
    }

    #[test]
    fn the_first_step_has_the_size_of_the_learning_rate() {
        let mut w = [1.0, 1.0];
        step(&mut Adam::new(AdamOptions::default()), &mut w, &[3.0, -0.02]);
        assert!((w[0] - 0.9).abs() < 1e-6 && (w[1] - 1.1).abs() < 1e-6, "{w:?}");
    }

    #[test]
    fn weight_decay_is_added_to_the_gradient() {
        let options = AdamOptions { weight_decay: 0.5, ..AdamOptions::default() };
        let mut w = [1.0, 1.0];
        step(&mut Adam::new(options), &mut w, &[-0.5, 0.0]);
        assert_eq!(w[0], 1.0, "decay and gradient cancel");
        assert!((w[1] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn a_restored_optimizer_goes_on_bit_for_bit() {
        let options = AdamOptions::default();
        let (mut adam, mut w) = (Adam::new(options), [1.0, -2.0]);
        step(&mut adam, &mut w, &[0.3, 0.7]);
        let bytes = adam.state().to_safetensors();
        let state = StateDict::from_safetensors(&bytes).unwrap();
        let (mut restored, mut v) = (Adam::from_state(options, &state).unwrap(), w);
        assert_eq!(restored, adam);
        step(&mut adam, &mut w, &[0.2, -0.1]);
        step(&mut restored, &mut v, &[0.2, -0.1]);
        assert_eq!(w, v);
    }

    #[test]
    fn a_moment_without_its_square_is_refused() {
        let mut state = StateDict::default();
        state.push("w.exp_avg".into(), vec![1], Values::F32(vec![0.0]));
        let told = Adam::from_state(AdamOptions::default(), &state).unwrap_err().to_string();
        assert!(told.contains("w.exp_avg_sq"), "{told}");
    }
}
