//! Live heap over the cycles of each path, beside stock webrtc-ice where that has the same: one
//! picture each, and a page.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::{Row, Verdict};
use crate::{Failure, bounds, workspace};

const SIZE: (u32, u32) = (900, 320);
const OURS: RGBColor = RGBColor(0, 92, 175);
const STOCK: RGBColor = RGBColor(200, 60, 30);
const BOUND: RGBColor = RGBColor(120, 120, 120);

/// Writes all of them; the page.
pub(super) fn write(root: &Path, rows: &[Row]) -> Result<PathBuf, Failure> {
    let folder = workspace::build_folder(root).join("xtask").join("leak");
    std::fs::create_dir_all(&folder)?;
    let mut page = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>What is left behind</title>\n\
         <body style=\"font-family: sans-serif; max-width: 60em; margin: 2em auto\">\n<h1>Leftovers</h1>\n",
    );
    writeln!(page, "<pre>{}</pre>", super::render(rows))?;
    let walked: Vec<&Row> = rows.iter().filter(|row| row.measured.walked > 0).collect();
    for row in walked.iter().filter(|row| row.verdict != Verdict::Stock) {
        let stock = walked
            .iter()
            .copied()
            .find(|other| Some(other.path) == row.beside);
        let file = format!("{}.svg", file_name(row.path));
        let picture = draw(row, stock)?;
        std::fs::write(folder.join(&file), &picture)?;
        writeln!(page, "<p><img src=\"{file}\" alt=\"{}\"></p>", row.path)?;
    }
    let page_file = folder.join("report.html");
    std::fs::write(&page_file, page)?;
    Ok(page_file.canonicalize()?)
}

fn file_name(path: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    path.chars()
        .map(plain)
        .collect::<String>()
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

fn draw(row: &Row, stock: Option<&Row>) -> Result<String, Failure> {
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        match stock {
            None => panel(&area, row, OURS)?,
            Some(stock) => {
                let (left, right) = area.split_horizontally(SIZE.0 / 2);
                panel(&left, row, OURS)?;
                panel(&right, stock, STOCK)?;
            }
        }
        area.present()?;
    }
    Ok(picture)
}

/// Live heap above the first look, and the line that a leak of the bound would draw.
fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    row: &Row,
    color: RGBColor,
) -> Result<(), Failure> {
    let first = row
        .measured
        .looks
        .first()
        .map_or(0, |look| look.alive.bytes);
    let points: Vec<(f64, f64)> = row
        .measured
        .looks
        .iter()
        .map(|look| {
            (
                look.cycle.into(),
                (look.alive.bytes - first) as f64 / 1024.0,
            )
        })
        .collect();
    let cycles = f64::from(row.measured.cycles);
    let bound = bounds::LEAK_BYTES * cycles / 1024.0;
    let most = points.iter().map(|point| point.1).fold(bound, f64::max) * 1.1;
    let least = points
        .iter()
        .map(|point| point.1)
        .fold(-0.2 * bound, f64::min)
        * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(row.path, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..cycles, least..most)?;
    chart
        .configure_mesh()
        .x_desc("cycles")
        .y_desc("live heap above the first look, KiB")
        .x_labels(6)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .draw()?;
    chart
        .draw_series(LineSeries::new([(0.0, 0.0), (cycles, bound)], BOUND))?
        .label("1 byte per cycle")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BOUND));
    chart
        .draw_series(LineSeries::new(
            points.iter().copied(),
            color.stroke_width(2),
        ))?
        .label(format!(
            "{:.2} bytes per cycle",
            row.measured.bytes_per_cycle
        ))
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    chart.draw_series(
        points
            .iter()
            .map(|point| Circle::new(*point, 2, color.filled())),
    )?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}
