//! The kernels of the CPU on the convolutions of the three networks, for images of 96 x 96.
//!
//!     cargo bench --bench kernels                              # on all cores
//!     RAYON_NUM_THREADS=1 cargo bench --bench kernels resnext  # on one core, and one network alone
//!
//! An item is a multiplication with its addition, as the definition counts them.

use std::fmt;

use divan::Bencher;
use divan::counter::ItemsCount;
use stlpipe::nn::bench::{Geometry, InputGradient, Level, Output, Prepared, Rounding, forward, gradients};

const BATCH: usize = 16;

/// A convolution of a network.
#[derive(Clone, Copy)]
struct Layer {
    network: &'static str,
    channels: (usize, usize),
    groups: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    side: usize,
}

impl Layer {
    const fn of(
        network: &'static str,
        channels: (usize, usize),
        groups: usize,
        [kernel, stride, padding, side]: [usize; 4],
    ) -> Layer {
        Layer { network, channels, groups, kernel, stride, padding, side }
    }

    fn geometry(&self) -> Geometry {
        let Layer { channels, groups, kernel, stride, padding, side, .. } = *self;
        Geometry { channels, groups, kernel, stride, padding, height: side, width: side }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layer { network, channels: (from, to), kernel, side, .. } = self;
        write!(f, "{network} {from} to {to}, kernel {kernel}, {side} px")
    }
}

/// Kernel, stride, padding and side of the input after the channels and groups.
const LAYERS: [Layer; 23] = [
    Layer::of("lenet", (3, 64), 1, [7, 2, 3, 96]),
    Layer::of("lenet", (64, 128), 1, [3, 1, 2, 24]),
    Layer::of("lenet", (128, 256), 1, [3, 1, 2, 26]),
    Layer::of("lenet", (256, 512), 1, [3, 1, 2, 14]),
    Layer::of("custom_net", (3, 64), 1, [5, 2, 3, 96]),
    Layer::of("custom_net", (64, 128), 1, [4, 1, 2, 24]),
    Layer::of("custom_net", (128, 128), 1, [1, 1, 0, 26]),
    Layer::of("custom_net", (256, 256), 1, [3, 1, 2, 28]),
    Layer::of("custom_net", (256, 512), 1, [2, 1, 2, 15]),
    Layer::of("resnext", (3, 64), 1, [7, 2, 3, 96]),
    Layer::of("resnext", (64, 32), 1, [1, 1, 0, 24]),
    Layer::of("resnext", (32, 32), 8, [3, 1, 1, 24]),
    Layer::of("resnext", (32, 256), 1, [1, 1, 0, 24]),
    Layer::of("resnext", (256, 32), 1, [1, 1, 0, 24]),
    Layer::of("resnext", (64, 64), 8, [3, 2, 1, 24]),
    Layer::of("resnext", (256, 512), 1, [1, 2, 0, 24]),
    Layer::of("resnext", (512, 64), 1, [1, 1, 0, 12]),
    Layer::of("resnext", (64, 64), 8, [3, 1, 1, 12]),
    Layer::of("resnext", (64, 512), 1, [1, 1, 0, 12]),
    Layer::of("resnext", (512, 1024), 1, [1, 2, 0, 12]),
    Layer::of("resnext", (1024, 128), 1, [1, 1, 0, 6]),
    Layer::of("resnext", (128, 128), 8, [3, 1, 1, 6]),
    Layer::of("resnext", (128, 1024), 1, [1, 1, 0, 6]),
];

fn main() {
    divan::main();
}

/// Numbers between -1 and 1, the same each time.
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// The input, the filters and the gradient of the output of a layer, and how many products they take.
fn measure(
    bencher: Bencher,
    layer: &Layer,
    work: impl Fn(&Geometry, &[f32], &[f32], &[f32]) -> Vec<f32> + Sync,
) {
    let g = layer.geometry();
    let (x, w, dy) =
        (numbers(BATCH * g.sample()), numbers(g.channels.1 * g.filter()), numbers(BATCH * g.out_sample()));
    bencher
        .counter(ItemsCount::new(BATCH * g.out_sample() * g.filter()))
        .bench_local(|| work(&g, divan::black_box(&x), divan::black_box(&w), divan::black_box(&dy)));
}

fn output(g: &Geometry, x: &[f32], w: &[f32], rounding: Rounding) -> Vec<f32> {
    let finish = Output { bias: None, negative_slope: 0.0, map: None };
    let filters = Prepared::new(g, w, (rounding, Level::in_use()));
    forward(g, x, &filters, finish, &|_, _| ()).0
}

#[divan::bench(args = LAYERS)]
fn forward_in_evaluation(bencher: Bencher, layer: &Layer) {
    measure(bencher, layer, |g, x, w, _| output(g, x, w, Rounding::Plain));
}

#[divan::bench(args = LAYERS)]
fn forward_in_training(bencher: Bencher, layer: &Layer) {
    measure(bencher, layer, |g, x, w, _| output(g, x, w, Rounding::Careful));
}

#[divan::bench(args = LAYERS)]
fn both_gradients(bencher: Bencher, layer: &Layer) {
    measure(bencher, layer, |g, x, w, dy| {
        let copy = |sample: usize, to: &mut [f32]| to.copy_from_slice(&dy[sample * to.len()..][..to.len()]);
        let mut dx = Vec::new();
        gradients(g, x, w, &copy, InputGradient::Fresh(&mut dx, 1.0), Level::in_use());
        dx
    });
}

#[divan::bench(args = LAYERS)]
fn gradient_of_the_filters(bencher: Bencher, layer: &Layer) {
    measure(bencher, layer, |g, x, w, dy| {
        let copy = |sample: usize, to: &mut [f32]| to.copy_from_slice(&dy[sample * to.len()..][..to.len()]);
        gradients(g, x, w, &copy, InputGradient::Unused, Level::in_use()).0
    });
}
