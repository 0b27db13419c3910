//! An exponential moving average of a network's weights, as `torch.optim.swa_utils.AveragedModel` keeps it with
//! `get_ema_multi_avg_fn(decay)` and `use_buffers=True`: after each step, average += (1 - decay) (weights - average),
//! for parameters and running statistics alike; the first step's weights are the first average. Only the counters
//! of batches differ: they are those of the network, where PyTorch averages and rounds them down. It does not know
//! what the average is for.

use rayon::prelude::*;

use crate::nn::{StateDict, Values};

/// How many values one task averages.
const BLOCK: usize = 1 << 15;

/// Takes the weights after another step into the average.
pub fn update(average: &mut Option<StateDict>, weights: StateDict, decay: f64) {
    let Some(average) = average else {
        *average = Some(weights);
        return;
    };
    let share = (1.0 - decay) as f32;
    for ((name, mean), (other, now)) in average.iter_mut().zip(weights.iter()) {
        debug_assert_eq!(name, other, "the average has the tensors of the network, in their order");
        match (&mut mean.values, &now.values) {
            (Values::F32(mean), Values::F32(now)) => {
                mean.par_chunks_mut(BLOCK).zip(now.par_chunks(BLOCK)).for_each(|(mean, now)| {
                    for (mean, now) in mean.iter_mut().zip(now) {
                        *mean += share * (*now - *mean);
                    }
                });
            }
            (mean, now) => *mean = now.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(weight: f32, running_mean: f32, batches: i64) -> StateDict {
        let mut state = StateDict::default();
        state.push("weight".into(), vec![1], Values::F32(vec![weight]));
        state.push("running_mean".into(), vec![1], Values::F32(vec![running_mean]));
        state.push("num_batches_tracked".into(), vec![], Values::I64(vec![batches]));
        state
    }

    /// PyTorch 2.14's numbers:
    ///
    /// ```python
    /// norm = torch.nn.BatchNorm1d(1)
    /// average = AveragedModel(norm, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    /// for weight, mean in [(1.0, 0.5), (2.0, -1.0), (4.0, 0.25)]:
    ///     norm.weight.data.fill_(weight); norm.running_mean.fill_(mean)
    ///     average.update_parameters(norm); print(average.module.weight, average.module.running_mean)
    /// ```
    #[test]
    fn it_agrees_with_pytorch() {
        let mut average = None;
        let steps = [(1.0, 0.5, 1.0, 0.5), (2.0, -1.0, 1.1, 0.35), (4.0, 0.25, 1.39, 0.34)];
        for (batches, (weight, mean, expected_weight, expected_mean)) in (1..).zip(steps) {
            update(&mut average, state(weight, mean, batches), 0.9);
            let average = average.as_ref().expect("there is an average after a step");
            let value = |name: &str| match &average.get(name).expect("it is there").values {
                Values::F32(values) => values[0],
                Values::I64(values) => values[0] as f32,
            };
            assert!((value("weight") - expected_weight).abs() < 2e-7, "{average:?}");
            assert!((value("running_mean") - expected_mean).abs() < 1e-7, "{average:?}");
            assert_eq!(value("num_batches_tracked"), batches as f32);
        }
    }

    #[test]
    fn what_does_not_move_is_its_own_average() {
        let mut average = None;
        for batches in 1..5 {
            update(&mut average, state(0.1, 0.3, batches), 0.999);
        }
        assert_eq!(average, Some(state(0.1, 0.3, 4)));
    }
}
