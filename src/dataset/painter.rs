//! Paints procedural pictures in ten classes, shapes and textures, that differ in colour, place, size, angle, light,
//! clutter and noise. A small network can learn them, but no single pixel or colour tells the class. It turns
//! random numbers into pixels and knows no file format.

use std::f64::consts::TAU;

use super::random::Stream;

/// The names of the classes; a picture of class `i` shows the `i`-th.
pub const CLASSES: [&str; 10] =
    ["disc", "ring", "square", "triangle", "cross", "star", "stripes", "checker", "dots", "waves"];

/// What a picture shows, in the order of [`CLASSES`].
const FIGURES: [Figure; 10] = [
    Figure::Disc,
    Figure::Ring,
    Figure::Square,
    Figure::Triangle,
    Figure::Cross,
    Figure::Star,
    Figure::Stripes,
    Figure::Checker,
    Figure::Dots,
    Figure::Waves,
];

/// Paints a square picture of a class. // out: (3, side, side)
///
/// # Panics
/// If there is no such class, or `out` holds no square picture.
pub fn paint(class: usize, stream: &mut Stream, out: &mut [u8]) {
    let side = (out.len() / 3).isqrt();
    assert_eq!(out.len(), 3 * side * side, "the picture is a square");
    let scene = Scene::draw(FIGURES[class], stream);
    for y in 0..side {
        for x in 0..side {
            let color = scene.color_at(y as f64 / side as f64, x as f64 / side as f64, 1.0 / side as f64);
            let noise = scene.noise * (stream.uniform() + stream.uniform() - 1.0);
            for (channel, level) in color.into_iter().enumerate() {
                out[(channel * side + y) * side + x] = (level + noise).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

type Color = [f64; 3];

/// All that was drawn at random for one picture, in units of its side.
struct Scene {
    figure: Figure,
    center: (f64, f64),
    radius: f64,
    /// Sine and cosine of the angle by which the figure is turned.
    turn: (f64, f64),
    /// How many times a texture repeats within the radius.
    repeats: f64,
    figure_color: Color,
    ground_color: Color,
    /// How much lighter the ground gets per unit to the right and down.
    light: (f64, f64),
    spots: Vec<Spot>,
    /// The largest noise, in levels.
    noise: f64,
}

/// A small disc that belongs to no class.
struct Spot {
    center: (f64, f64),
    radius: f64,
    color: Color,
}

impl Scene {
    fn draw(figure: Figure, stream: &mut Stream) -> Scene {
        let (figure_color, ground_color) = distinct_colors(stream);
        let spots = (0..stream.below(5)).map(|_| Spot {
            center: (stream.uniform(), stream.uniform()),
            radius: stream.between(0.02, 0.06),
            color: any_color(stream),
        });
        let spots = spots.collect();
        Scene {
            figure,
            center: (stream.between(0.35, 0.65), stream.between(0.35, 0.65)),
            radius: stream.between(0.2, 0.42),
            turn: stream.between(0.0, TAU).sin_cos(),
            repeats: stream.between(1.2, 2.2),
            figure_color,
            ground_color,
            light: (stream.between(-60.0, 60.0), stream.between(-60.0, 60.0)),
            spots,
            noise: stream.between(5.0, 40.0),
        }
    }

    /// The colour of the pixel whose upper left corner is at (y, x), edges smoothed over four points.
    fn color_at(&self, y: f64, x: f64, pixel: f64) -> Color {
        let points = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)];
        let inside = points.iter().filter(|(dy, dx)| self.figure_covers(y + dy * pixel, x + dx * pixel));
        let figure = inside.count() as f64 / points.len() as f64;
        let light = self.light.0 * (y - 0.5) + self.light.1 * (x - 0.5);
        let ground =
            self.spots.iter().find(|spot| spot.covers(y, x)).map_or(self.ground_color, |spot| spot.color);
        [0, 1, 2].map(|c| figure * self.figure_color[c] + (1.0 - figure) * ground[c] + light)
    }

    fn figure_covers(&self, y: f64, x: f64) -> bool {
        // In the figure's own frame the radius is 1; corners reach a little farther.
        let (y, x) = ((y - self.center.0) / self.radius, (x - self.center.1) / self.radius);
        if x * x + y * y > 1.25 {
            return false;
        }
        let (sin, cos) = self.turn;
        self.figure.covers(cos * x + sin * y, cos * y - sin * x, self.repeats)
    }
}

/// A shape, or a texture on a disc.
#[derive(Clone, Copy)]
enum Figure {
    Disc,
    Ring,
    Square,
    Triangle,
    Cross,
    Star,
    Stripes,
    Checker,
    Dots,
    Waves,
}

impl Figure {
    /// Whether it covers a point of its own frame, in which nothing reaches farther than sqrt(1.25) from the middle.
    fn covers(self, u: f64, v: f64, repeats: f64) -> bool {
        let r = (u * u + v * v).sqrt();
        let odd = |t: f64| (t * repeats).rem_euclid(1.0) < 0.5;
        let from_middle = |t: f64| (t * repeats).rem_euclid(1.0) - 0.5;
        match self {
            Figure::Disc => r < 0.9,
            Figure::Ring => (0.55..0.95).contains(&r),
            Figure::Square => u.abs().max(v.abs()) < 0.75,
            Figure::Triangle => v > -0.5 && (0.75f64.sqrt() * u.abs() + 0.5 * v) < 0.5,
            Figure::Cross => u.abs().min(v.abs()) < 0.25 && u.abs().max(v.abs()) < 0.95,
            Figure::Star => r < 0.65 + 0.3 * (5.0 * v.atan2(u)).cos(),
            Figure::Stripes => r < 1.0 && odd(u),
            Figure::Checker => r < 1.0 && odd(u) != odd(v),
            Figure::Dots => r < 1.0 && from_middle(u).powi(2) + from_middle(v).powi(2) < 0.32f64.powi(2),
            Figure::Waves => r < 1.0 && odd(u + 0.25 * (5.0 * v).sin()),
        }
    }
}

impl Spot {
    fn covers(&self, y: f64, x: f64) -> bool {
        let (y, x) = (y - self.center.0, x - self.center.1);
        x * x + y * y < self.radius * self.radius
    }
}

fn any_color(stream: &mut Stream) -> Color {
    [0, 1, 2].map(|_| stream.between(20.0, 235.0))
}

/// Two colours that are far enough apart to be seen through the noise.
fn distinct_colors(stream: &mut Stream) -> (Color, Color) {
    loop {
        let (one, other) = (any_color(stream), any_color(stream));
        let apart: f64 = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).sum();
        if apart > 150.0 {
            return (one, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::Purpose;

    fn picture(class: usize, sample: u64) -> Vec<u8> {
        let mut out = vec![0; 3 * 32 * 32];
        paint(class, &mut Stream::new(1, Purpose::Synthesize, sample, 0), &mut out);
        out
    }

    #[test]
    fn the_same_stream_paints_the_same_picture_and_another_one_another() {
        assert_eq!(picture(4, 7), picture(4, 7));
        assert_ne!(picture(4, 7), picture(4, 8));
        assert_ne!(picture(4, 7), picture(5, 7));
    }

    #[test]
    fn the_mean_colour_does_not_tell_the_class() {
        let mean = |class| {
            let levels = (0..100).flat_map(|sample| picture(class, 1000 * class as u64 + sample));
            levels.map(f64::from).sum::<f64>() / f64::from(100 * 3 * 32 * 32)
        };
        for (class, name) in CLASSES.iter().enumerate() {
            assert!((mean(class) - 127.0).abs() < 15.0, "{name}: {}", mean(class));
        }
    }
}
