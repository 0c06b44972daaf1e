//! The plot: what a new callback takes of each, one bar each, on a scale of powers of ten.

use anyhow::{Context as _, anyhow};
use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{PathElement, Rectangle, Text},
    style::{
        Color as _, FontTransform, IntoFont as _, IntoTextStyle as _, RGBColor, ShapeStyle, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    bars::{fresh_cpu, is_provider},
    figures::Figures,
    subjects::Kind,
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: i32 = 940;
const ROW: i32 = 26;
const TOP: i32 = 76;
const BOTTOM: i32 = 30;
/// Where bars begin and end.
const LEFT: i32 = 250;
const RIGHT: i32 = 860;

const INK: RGBColor = RGBColor(31, 35, 40);
const LINES: RGBColor = RGBColor(216, 222, 228);
const FUNCTIONS: RGBColor = RGBColor(9, 105, 218);
const FLOORS: RGBColor = RGBColor(130, 139, 148);
const PEERS: RGBColor = RGBColor(207, 94, 0);

/// The least and the greatest power of ten, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    from: i32,
    to: i32,
}

impl Scale {
    /// What holds all these.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let least = values.clone().filter(|value| *value > 0.0).min_by(f64::total_cmp)?;
        let greatest = values.max_by(f64::total_cmp)?;
        let power = |rounded: f64| (-9..=9).find(|power| f64::from(*power) >= rounded);
        let from = power(least.log10().floor())?;
        Some(Self { from, to: power(greatest.log10().ceil())?.max(from + 1) })
    }

    /// Where a value is between the ends of the bars.
    fn place(self, value: f64) -> i32 {
        let share = (value.max(f64::MIN_POSITIVE).log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        let wanted = f64::from(LEFT) + share.clamp(0.0, 1.0) * f64::from(RIGHT - LEFT);
        (LEFT..=RIGHT).find(|x| f64::from(*x) + 0.5 >= wanted).unwrap_or(RIGHT)
    }
}

/// Draws it, as SVG.
pub(crate) fn draw(figures: &[Figures]) -> anyhow::Result<String> {
    let is_compared = |of: &&Figures| is_provider(of) || of.kind != Kind::Function;
    let mut rows: Vec<(&Figures, f64)> =
        figures.iter().filter(is_compared).filter_map(|of| Some((of, fresh_cpu(of)?))).collect();
    rows.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let height = TOP + ROW * i32::try_from(rows.len())? + BOTTOM;
    let mut svg = String::new();
    {
        let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        paint(&area, &rows, height).map_err(|error| anyhow!("{error}")).context("failed to draw the plot")?;
    }
    Ok(svg.trim_end().to_owned() + "\n")
}

fn paint(area: &Area<'_>, rows: &[(&Figures, f64)], height: i32) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    write(
        area,
        "Processor time for a new callback, in µs (each line is ten times the one before)",
        (12, 18),
        HPos::Left,
        17,
    )?;
    for (x, color, name) in [(12, FUNCTIONS, "functions"), (122, FLOORS, "floors"), (212, PEERS, "peers")] {
        area.draw(&Rectangle::new([(x, 34), (x + 12, 46)], color.filled()))?;
        write(area, name, (x + 18, 40), HPos::Left, 17)?;
    }
    let Some(scale) = Scale::of(rows.iter().map(|(_, cpu)| *cpu)) else { return Ok(()) };
    for power in scale.from..=scale.to {
        let x = scale.place(10_f64.powi(power));
        area.draw(&PathElement::new([(x, TOP - 8), (x, height - BOTTOM)], ShapeStyle::from(&LINES).stroke_width(1)))?;
        write(area, &format!("{}", 10_f64.powi(power)), (x, TOP - 18), HPos::Center, 16)?;
    }
    for ((of, cpu), y) in rows.iter().zip((TOP..).step_by(26)) {
        let color = match of.kind {
            Kind::Function => FUNCTIONS,
            Kind::Floor => FLOORS,
            Kind::Peer => PEERS,
        };
        let (end, middle) = (scale.place(*cpu), y + ROW / 2);
        area.draw(&Rectangle::new([(LEFT, y + 4), (end, y + ROW - 4)], color.filled()))?;
        write(area, &of.name, (LEFT - 8, middle), HPos::Right, 17)?;
        write(area, &format!("{cpu:.0}"), (end + 6, middle), HPos::Left, 16)?;
    }
    area.present()?;
    Ok(())
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), from: HPos, size: u32) -> Result<(), Box<dyn std::error::Error>> {
    let font = ("sans-serif", size).into_font().transform(FontTransform::None);
    let style: TextStyle<'_> = font.into_text_style(area).color(&INK).pos(Pos::new(from, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::bars::tests::example;

    #[test]
    fn a_scale_holds_all_values() {
        let scale = Scale::of([67.0, 6000.0].into_iter()).unwrap();
        assert_eq!(scale, Scale { from: 1, to: 4 });
        assert_eq!((scale.place(10.0), scale.place(10_000.0)), (LEFT, RIGHT));
        // The middle of two powers.
        assert_eq!(scale.place(10_f64.powf(2.5)), LEFT + (RIGHT - LEFT) / 2);
        assert_eq!(Scale::of(std::iter::empty()), None);
    }

    #[test]
    fn everything_that_is_compared_has_a_bar() {
        let svg = draw(&example()).unwrap();
        for name in ["verifyvasp", "put-item", "python-verifyvasp"] {
            assert!(svg.contains(name), "{name} is not in {svg}");
        }
        assert!(!svg.contains("publisher"));
        assert!(draw(&[]).unwrap().contains("svg"));
    }
}
