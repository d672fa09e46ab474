//! The video: a river that enters at the left and leaves as a delta, with pulses of light flowing
//! down its arms to the viewers at their ends.

use std::f32::consts::TAU;

pub(super) const WIDTH: usize = 640;
pub(super) const HEIGHT: usize = 360;

/// The arms: where they lie at the first and at the second parting, in parts of the height.
const ARMS: [[f32; 2]; 8] = [
    [-0.17, -0.18],
    [-0.17, -0.07],
    [-0.17, 0.04],
    [0.03, -0.09],
    [0.03, 0.01],
    [0.03, 0.11],
    [0.19, 0.0],
    [0.19, 0.13],
];

/// Start of the river, partings of the arms, and their ends, as fractions of the width.
const SOURCE: f32 = 0.06;
const FIRST_PARTING: [f32; 2] = [0.2, 0.5];
const SECOND_PARTING: [f32; 2] = [0.48, 0.82];
const MOUTH: f32 = 0.93;

/// Whole numbers, so that the end of the loop fits its beginning.
const WAVES_PER_LOOP: f32 = 3.0;
const PULSES_PER_LOOP: f32 = 8.0;
const PULSES_ON_THE_WAY: f32 = 1.6;

/// Colors of light, red to blue: the water at the source and at the mouths.
const SOURCE_COLOR: [f32; 3] = [60.0, 130.0, 255.0];
const MOUTH_COLOR: [f32; 3] = [40.0, 235.0, 190.0];

/// Draws video frames, one after the other.
pub(super) struct Canvas {
    background: Vec<[f32; 3]>,
    light: Vec<[f32; 3]>,
    rgb: Vec<u8>,
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self {
            background: background(),
            light: Vec::new(),
            rgb: Vec::new(),
        }
    }

    /// Draws the frame at `phase` of the loop, from 0 to 1, as 24-bit RGB.
    pub(super) fn draw(&mut self, phase: f32) -> &[u8] {
        self.light.clone_from(&self.background);
        for (n, arm) in ARMS.iter().enumerate() {
            self.draw_arm(*arm, n as f32 / ARMS.len() as f32, phase);
        }
        self.draw_dot(
            SOURCE,
            0.46 + sway(SOURCE, 0.0, phase),
            7.0,
            SOURCE_COLOR,
            1.0,
        );
        self.rgb.clear();
        for pixel in &self.light {
            // Light adds up and fades towards white instead of being cut off.
            self.rgb
                .extend(pixel.map(|value| (255.0 * (1.0 - (-value / 200.0).exp())) as u8));
        }
        &self.rgb
    }

    fn draw_arm(&mut self, arm: [f32; 2], offset: f32, phase: f32) {
        let first = (SOURCE * WIDTH as f32) as usize;
        let last = (MOUTH * WIDTH as f32) as usize;
        for column in first..last {
            let x = column as f32 / WIDTH as f32;
            let y = height_of(arm, x, offset, phase) * HEIGHT as f32;
            let along = (x - SOURCE) / (MOUTH - SOURCE);
            let color = mix(SOURCE_COLOR, MOUTH_COLOR, along);
            // The arms lie on each other before they part: each carries its share of the light.
            let parted = smooth_step(FIRST_PARTING[0], SECOND_PARTING[1], x);
            let ends = smooth_step(0.0, 0.05, along) * smooth_step(1.0, 0.95, along);
            let share = (0.2 + 0.8 * parted) * ends;
            let pulse = pulse(along, offset, phase);
            let core = 2.6 - 1.2 * along;
            self.draw_column(column, y, core + pulse, color, share * (0.75 + 1.6 * pulse));
            self.draw_column(
                column,
                y,
                11.0 + 5.0 * pulse,
                color,
                share * (0.1 + 0.22 * pulse),
            );
        }
        let y = height_of(arm, MOUTH, offset, phase);
        let arrived = pulse(1.0, offset, phase);
        self.draw_dot(
            MOUTH,
            y,
            4.0 + 2.5 * arrived,
            MOUTH_COLOR,
            0.7 + 1.3 * arrived,
        );
    }

    /// Adds light around height `y` in one column, fading over `radius` pixels.
    fn draw_column(&mut self, column: usize, y: f32, radius: f32, color: [f32; 3], strength: f32) {
        let reach = radius * 3.0;
        let top = (y - reach).max(0.0) as usize;
        let bottom = ((y + reach).max(0.0) as usize).min(HEIGHT);
        for row in top..bottom {
            let distance = (row as f32 - y) / radius;
            let light = strength * (-distance * distance).exp();
            add(&mut self.light[row * WIDTH + column], color, light);
        }
    }

    fn draw_dot(&mut self, x: f32, y: f32, radius: f32, color: [f32; 3], strength: f32) {
        let (x, y) = (x * WIDTH as f32, y * HEIGHT as f32);
        let reach = (radius * 3.0) as usize;
        for column in (x as usize).saturating_sub(reach)..(x as usize + reach).min(WIDTH) {
            let distance = (column as f32 - x) / radius;
            let strength = strength * (-distance * distance).exp();
            self.draw_column(column, y, radius, color, strength);
        }
    }
}

/// Night over water: dark, a little lighter towards the horizon.
fn background() -> Vec<[f32; 3]> {
    (0..WIDTH * HEIGHT)
        .map(|at| {
            let (x, y) = (
                (at % WIDTH) as f32 / WIDTH as f32,
                (at / WIDTH) as f32 / HEIGHT as f32,
            );
            let glow = (-((y - 0.46) / 0.5).powi(2)).exp() * (0.6 + 0.4 * x);
            [4.0 + 7.0 * glow, 9.0 + 26.0 * glow, 20.0 + 38.0 * glow]
        })
        .collect()
}

/// Returns the height of an arm at `x`, both as fractions of the frame.
fn height_of(arm: [f32; 2], x: f32, offset: f32, phase: f32) -> f32 {
    let first = arm[0] * smooth_step(FIRST_PARTING[0], FIRST_PARTING[1], x);
    let second = arm[1] * smooth_step(SECOND_PARTING[0], SECOND_PARTING[1], x);
    0.46 + first + second + sway(x, offset, phase)
}

/// Returns the river meanders: waves that travel down it.
fn sway(x: f32, offset: f32, phase: f32) -> f32 {
    let parted = smooth_step(FIRST_PARTING[0], SECOND_PARTING[1], x);
    let wave = (TAU * (1.7 * x - WAVES_PER_LOOP * phase)).sin();
    let own = (TAU * (2.3 * x - WAVES_PER_LOOP * phase + offset * 3.0)).sin();
    0.016 * wave + 0.012 * parted * own
}

/// Returns the brightness of a pulse at this point: the same in all arms, as every viewer gets the
/// same, but not at the same moment in each.
fn pulse(along: f32, offset: f32, phase: f32) -> f32 {
    let late = 0.12 * (offset * 7.0).sin() * along;
    let turn = PULSES_ON_THE_WAY * along - PULSES_PER_LOOP * phase + late;
    (TAU * turn).cos().max(0.0).powi(16)
}

fn smooth_step(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn mix(a: [f32; 3], b: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|n| a[n] + (b[n] - a[n]) * share)
}

fn add(pixel: &mut [f32; 3], color: [f32; 3], light: f32) {
    for (value, color) in pixel.iter_mut().zip(color) {
        *value += color * light;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_the_loop_equals_its_start() {
        let mut canvas = Canvas::new();
        let first = canvas.draw(0.0).to_vec();
        let largest = |other: &[u8]| {
            first
                .iter()
                .zip(other)
                .map(|(a, b)| a.abs_diff(*b))
                .max()
                .unwrap_or_default()
        };
        assert!(largest(canvas.draw(1.0)) <= 2);
        assert!(
            largest(canvas.draw(0.5 / PULSES_PER_LOOP)) > 50,
            "it moves in between"
        );
    }
}
