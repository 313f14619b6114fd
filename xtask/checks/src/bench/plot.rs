//! Rows of bars, or of points with their spread, as SVG.

use plotters::coord::ranged1d::AsRangedCoord;
use plotters::prelude::*;

use super::Spread;
use crate::Failure;

const OURS: RGBColor = RGBColor(0, 92, 175);
const OTHER: RGBColor = RGBColor(200, 110, 30);
const LINE: RGBColor = RGBColor(120, 120, 120);

const WIDTH: u32 = 900;
const LABELS: u32 = 330;
const ROW: u32 = 28;
/// Room for a figure behind its bar, of the width.
const ROOM: f64 = 0.16;

#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// The label of the axis, with the better direction.
    pub(super) axis: &'static str,
    pub(super) scale: Scale,
    pub(super) rows: Vec<Row>,
    /// The positions of bounds and of compared figures.
    pub(super) lines: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Bars from zero.
    Linear,
    /// Bars over powers of ten.
    Powers,
    /// Points around one, for ratios.
    Ratio,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) label: String,
    pub(super) figure: f64,
    /// From and to.
    pub(super) spread: Option<(f64, f64)>,
    pub(super) is_ours: bool,
    /// The figure as it is written beside it.
    pub(super) text: String,
}

impl Row {
    pub(super) fn new(
        label: impl Into<String>,
        spread: Spread,
        is_ours: bool,
        text: String,
    ) -> Self {
        let Spread {
            p10, median, p90, ..
        } = spread;
        Self {
            label: label.into(),
            figure: median,
            spread: Some((p10, p90)),
            is_ours,
            text,
        }
    }

    fn ends(&self) -> (f64, f64) {
        let (low, high) = self.spread.unwrap_or((self.figure, self.figure));
        (low.min(self.figure), high.max(self.figure))
    }
}

/// The picture.
pub(super) fn draw(plot: &Plot) -> Result<String, Failure> {
    let ends = || {
        plot.rows
            .iter()
            .map(Row::ends)
            .chain(plot.lines.iter().map(|line| (*line, *line)))
    };
    let least = ends()
        .map(|(low, _)| low)
        .filter(|low| *low > 0.0)
        .fold(f64::INFINITY, f64::min);
    let most = ends().map(|(_, high)| high).fold(0.0, f64::max);
    match plot.scale {
        Scale::Linear => draw_on(plot, 0.0, 0.0..most * (1.0 + 2.0 * ROOM)),
        Scale::Powers => {
            let least = 10_f64.powf(least.log10().floor()) / 2.0;
            draw_on(
                plot,
                least,
                (least..most * (most / least).powf(ROOM)).log_scale(),
            )
        }
        Scale::Ratio => {
            let room = (most - least).max(0.01);
            draw_on(plot, 0.0, least - room * ROOM..most + room * 2.0 * ROOM)
        }
    }
}

fn draw_on<X>(plot: &Plot, zero: f64, range: X) -> Result<String, Failure>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: plotters::coord::ranged1d::ValueFormatter<f64>,
{
    let mut picture = String::new();
    {
        let height = 90 + ROW * plot.rows.len() as u32;
        let area = SVGBackend::with_string(&mut picture, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(plot.title, ("sans-serif", 16))
            .margin(12)
            .margin_left(LABELS)
            .x_label_area_size(40)
            .build_cartesian_2d(range, 0.0..plot.rows.len() as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(plot.axis)
            .x_labels(7)
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 12))
            .x_label_formatter(&|x| ((x * 1e4).round() / 1e4).to_string())
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.1))
            .draw()?;
        for line in &plot.lines {
            chart.draw_series([PathElement::new(
                [(*line, 0.0), (*line, plot.rows.len() as f64)],
                LINE,
            )])?;
        }
        // the first row on top
        for (row, place) in plot.rows.iter().rev().zip(0..) {
            let (color, middle) = (
                if row.is_ours { OURS } else { OTHER },
                f64::from(place) + 0.5,
            );
            let (low, high) = row.ends();
            if plot.scale == Scale::Ratio {
                chart.draw_series([PathElement::new(
                    [(low, middle), (high, middle)],
                    color.stroke_width(2),
                )])?;
                chart.draw_series([Circle::new((row.figure, middle), 5, color.filled())])?;
            } else {
                let bar = [(zero, middle - 0.35), (row.figure.max(zero), middle + 0.35)];
                chart.draw_series([Rectangle::new(bar, color.mix(0.75).filled())])?;
                if row.spread.is_some() {
                    let low = low.max(zero);
                    chart.draw_series([PathElement::new(
                        [(low, middle), (high, middle)],
                        BLACK.stroke_width(1),
                    )])?;
                }
            }
            let (_, y) = chart.backend_coord(&(row.figure, middle));
            let (x, _) = chart.backend_coord(&(high.max(zero), middle));
            area.draw(&Text::new(
                row.text.clone(),
                (x + 8, y - 7),
                ("sans-serif", 13),
            ))?;
            area.draw(&Text::new(
                row.label.clone(),
                (12, y - 7),
                ("sans-serif", 13),
            ))?;
        }
        area.present()?;
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_draws_every_row() {
        for scale in [Scale::Linear, Scale::Powers, Scale::Ratio] {
            let row = |n: u8| Row {
                label: format!("row {n}"),
                figure: f64::from(n),
                spread: Some((0.5, 90.0)),
                is_ours: n > 1,
                text: format!("figure {n}"),
            };
            // a count may be zero
            let plot = Plot {
                title: "title",
                axis: "axis",
                scale,
                rows: (0..3).map(row).collect(),
                lines: vec![1.0],
            };
            let picture = draw(&plot).unwrap();
            for n in 0..3 {
                assert!(
                    picture.contains(&format!("row {n}"))
                        && picture.contains(&format!("figure {n}")),
                    "{scale:?}"
                );
            }
        }
    }
}
