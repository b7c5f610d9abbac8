//! Lines in a frame, as SVG. Colours are the style sheet's.

use std::fmt::Write;

/// What a plot shows.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    /// What the axes count, with the unit.
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// Whether the axis of `y` begins at 0, or near the least value.
    pub(super) from_zero: bool,
    pub(super) curves: Vec<Curve>,
}

/// One line of it.
#[derive(Clone)]
pub(super) struct Curve {
    pub(super) colour: usize,
    pub(super) dashed: bool,
    pub(super) points: Vec<(f64, f64)>,
}

/// Of the picture, and of the frame in it, in pixels.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// Marks on an axis, about.
const MARKS: f64 = 5.0;

/// The part of an axis that is shown, and the distance between two marks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    from: f64,
    to: f64,
    step: f64,
    /// The largest value.
    most: f64,
}

impl Plot<'_> {
    /// A figure with the plot, or with a word where there is nothing to show.
    pub(super) fn svg(&self) -> String {
        let points = || self.curves.iter().flat_map(|curve| &curve.points).copied();
        if points().next().is_none() {
            return format!(
                "<figure>\n<figcaption>{}</figcaption>\n<p class=\"none\">Does not apply.</p>\n</figure>\n",
                self.title
            );
        }
        let x = Axis::over(points().map(|(x, _)| x), true).cut();
        let y = Axis::over(points().map(|(_, y)| y), self.from_zero);
        let across = |value: f64| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
        let down = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<figure>\n<figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n",
            self.title
        );
        for mark in y.marks() {
            let (at, right, text) = (down(mark), WIDTH - RIGHT, y.label(mark));
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>\
                 <text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for mark in x.marks() {
            let (at, bottom, text) = (across(mark), HEIGHT - BOTTOM, x.label(mark));
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/>\
                 <text class=\"x\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
                bottom + 19.0
            );
        }
        let (bottom, right, middle) = (HEIGHT - BOTTOM, WIDTH - RIGHT, (HEIGHT - BOTTOM + TOP) / 2.0);
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
             <text class=\"x name\" x=\"{}\" y=\"{}\">{}</text>\
             <text class=\"x name\" transform=\"translate(14 {middle}) rotate(-90)\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 6.0,
            self.x,
            self.y
        );
        for Curve { colour, dashed, points } in self.curves.iter().filter(|curve| !curve.points.is_empty()) {
            let dashed = if *dashed { " dashed" } else { "" };
            let _ = write!(svg, "<polyline class=\"curve line{colour}{dashed}\" points=\"");
            for (x, y) in points {
                let _ = write!(svg, "{:.1},{:.1} ", across(*x), down(*y));
            }
            svg += "\"/>\n";
        }
        svg + "</svg>\n</figure>\n"
    }
}

impl Axis {
    /// One that has all these values, from a mark to a mark.
    fn over(values: impl Iterator<Item = f64> + Clone, from_zero: bool) -> Self {
        let most = values.clone().fold(f64::MIN, f64::max);
        let least = if from_zero { 0.0 } else { values.fold(f64::MAX, f64::min) };
        // Where all values are the same, they get some room.
        let room = if most - least < 1e-9 { 1.0 } else { most - least };
        let rough = room / MARKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        // What is a mark but for rounding is one.
        let from = ((least + step * 1e-9) / step).floor() * step;
        let to = ((least + room - step * 1e-9) / step).ceil() * step;
        Self { from, to, step, most: most.max(least + room) }
    }

    /// It ends with the last value, and not with the mark behind it.
    fn cut(self) -> Self {
        Self { to: self.most, ..self }
    }

    /// How far along the axis a value is, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        let marks = ((self.to - self.from) / self.step + 1e-9).floor() as u32;
        (0..=marks).map(|mark| self.from + f64::from(mark) * self.step)
    }

    /// A mark's number, with as many digits as tell it from the next.
    fn label(&self, mark: f64) -> String {
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        format!("{mark:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_begin_and_end_at_round_numbers() {
        for (values, from_zero, from, to, labels) in [
            (&[0.0, 97.0][..], true, 0.0, 100.0, &["0", "20", "40", "60", "80", "100"][..]),
            (&[1.02, 1.19], false, 1.0, 1.2, &["1.00", "1.05", "1.10", "1.15", "1.20"]),
            (&[0.0], true, 0.0, 1.0, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (&[100.0], true, 0.0, 100.0, &["0", "20", "40", "60", "80", "100"]),
        ] {
            let axis = Axis::over(values.iter().copied(), from_zero);
            assert!((axis.from - from).abs() < 1e-9 && (axis.to - to).abs() < 1e-9, "{axis:?}");
            assert_eq!(axis.marks().map(|mark| axis.label(mark)).collect::<Vec<_>>(), labels);
            let most = values.iter().copied().fold(if from_zero { 0.0 } else { f64::MIN }, f64::max);
            assert!(most == 0.0 || axis.cut().share(most) == 1.0, "{axis:?}");
        }
    }
}
