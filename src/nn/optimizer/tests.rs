//! Three steps of every method against PyTorch's numbers, and states that come back.

use super::*;

const FIRST: [f32; 3] = [1.0, -2.0, 0.5];
const GRADIENTS: [[f32; 3]; 3] = [[0.3, -0.7, 0.0], [-0.1, 0.4, 2.0], [0.25, 0.0, -1.0]];

/// What the parameter is after three steps with learning rate 0.1 and weight decay 0.5, and whether that is
/// what PyTorch 2.14 has for it:
///
/// ```python
/// p = torch.nn.Parameter(torch.tensor(FIRST))
/// optimizer = torch.optim.Adam([p], lr=0.1, weight_decay=0.5)  # AdamW, SGD(.., momentum=0.9, nesterov=True)
/// for gradient in GRADIENTS:
///     p.grad = torch.tensor(gradient)
///     optimizer.step()
/// ```
#[track_caller]
fn check(method: Method, expected: [f32; 3]) {
    let mut optimizer = Optimizer::new(method, 0.5);
    let mut w = FIRST;
    for gradient in GRADIENTS {
        optimizer.begin_step(0.1).update("w", &mut w, &gradient);
    }
    assert!(w.iter().zip(expected).all(|(a, b)| (a - b).abs() < 3e-7), "{w:?} is not {expected:?}");
}

#[test]
fn adam_agrees_with_pytorch() {
    check(Method::Adam, [0.714_036_94, -1.724_675_5, 0.282_293_77]);
}

#[test]
fn adamw_agrees_with_pytorch() {
    check(Method::Adamw, [0.665_203_4, -1.587_908_9, 0.335_130_42]);
}

#[test]
fn sgd_agrees_with_pytorch_with_and_without_momentum() {
    check(Method::Sgd { momentum: 0.0, nesterov: false }, [0.814_8, -1.689_575_1, 0.338_687_5]);
    check(Method::Sgd { momentum: 0.9, nesterov: false }, [0.649_2, -1.360_175_1, 0.095_687_53]);
    check(Method::Sgd { momentum: 0.9, nesterov: true }, [0.521_020_2, -1.158_218, -0.000_168_681]);
}

#[test]
fn a_restored_optimizer_goes_on_bit_for_bit() {
    for method in [Method::Adam, Method::Adamw, Method::Sgd { momentum: 0.9, nesterov: true }] {
        let (mut optimizer, mut w) = (Optimizer::new(method, 0.1), FIRST);
        let step = |optimizer: &mut Optimizer, w: &mut [f32], n: usize| {
            let mut step = optimizer.begin_step(0.1);
            step.update("layer.weight", w, &GRADIENTS[n]);
            step.update("layer.bias", &mut w[1..], &GRADIENTS[n][1..]);
        };
        step(&mut optimizer, &mut w, 0);
        let state = StateDict::from_safetensors(&optimizer.state().to_safetensors()).unwrap();
        let (mut restored, mut v) = (Optimizer::from_state(method, 0.1, &state).unwrap(), w);
        assert_eq!(restored, optimizer);
        step(&mut optimizer, &mut w, 1);
        step(&mut restored, &mut v, 1);
        assert_eq!(w, v);
    }
}

#[test]
fn a_state_of_another_method_or_a_part_of_one_is_refused() {
    let mut state = StateDict::default();
    state.push("w.exp_avg".into(), vec![1], Values::F32(vec![0.0]));
    let told = |method| Optimizer::from_state(method, 0.0, &state).unwrap_err().to_string();
    assert!(told(Method::Adam).contains("w.exp_avg_sq is not"));
    assert!(told(Method::Sgd { momentum: 0.9, nesterov: false }).contains("w.exp_avg is not"));
}

#[test]
fn figures_that_make_no_sense_are_told() {
    for momentum in [-0.1, 1.0, f64::NAN] {
        assert!(Method::Sgd { momentum, nesterov: false }.problem().is_some(), "{momentum}");
    }
    let ahead_of_nothing = Method::Sgd { momentum: 0.0, nesterov: true };
    assert_eq!(ahead_of_nothing.problem(), Some("nesterov needs a momentum above 0, such as 0.9"));
    assert_eq!(Method::Sgd { momentum: 0.9, nesterov: true }.problem(), None);
}
