//! The linear layer: y = act(x weight^T + bias) for rows x. Small, so it stays on one thread.

use super::elementwise::activate;
use super::matrix::{Matrix, add_product, multiply};

/// The outputs, for x (batch, inputs), weight (outputs, inputs), bias (outputs).
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], negative_slope: f32) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let batch = x.len() / inputs;
    let mut y = vec![0.0; batch * outputs];
    let weight = Matrix::new(weight, outputs, inputs).transposed();
    multiply(Matrix::new(x, batch, inputs), weight, &mut y);
    for row in y.chunks_exact_mut(outputs) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value = activate(*value + bias, negative_slope);
        }
    }
    y
}

/// dw += dy^T x.
pub fn add_weight_gradient(x: &[f32], dy: &[f32], outputs: usize, dw: &mut [f32]) {
    let batch = dy.len() / outputs;
    let inputs = x.len() / batch;
    add_product(Matrix::new(dy, batch, outputs).transposed(), Matrix::new(x, batch, inputs), dw);
}

/// dx += dy weight.
pub fn add_input_gradient(dy: &[f32], weight: &[f32], outputs: usize, dx: &mut [f32]) {
    let batch = dy.len() / outputs;
    let inputs = weight.len() / outputs;
    add_product(Matrix::new(dy, batch, outputs), Matrix::new(weight, outputs, inputs), dx);
}
