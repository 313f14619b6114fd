//! The counts as a page: a table, and each as a bar against its baseline.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use crate::Failure;

const NOW: RGBColor = RGBColor(0, 92, 175);

/// Writes `target/xtask/bench/report.html`; where it is.
pub(super) fn write(
    root: &Path,
    counts: &BTreeMap<String, u64>,
    baseline: Option<&BTreeMap<String, u64>>,
) -> Result<PathBuf, Failure> {
    let build = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = build.join("xtask").join("bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("counts.svg"), draw(counts)?)?;
    let mut page = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>Counts</title>\n\
         <body style=\"font-family: sans-serif; max-width: 60em; margin: 2em auto\">\n<h1>Counts</h1>\n\
         <table><tr><th align=\"left\">count<th>baseline<th>now</tr>\n",
    );
    for (what, count) in counts {
        let before = baseline.and_then(|baseline| baseline.get(what)).map_or_else(|| "-".to_owned(), u64::to_string);
        writeln!(page, "<tr><td>{what}<td align=\"right\">{before}<td align=\"right\">{count}</tr>")?;
    }
    page += "</table>\n<p><img src=\"counts.svg\" alt=\"each count as a bar\"></p>\n";
    let file = folder.join("report.html");
    std::fs::write(&file, page)?;
    Ok(file.canonicalize()?)
}

/// On a scale of powers of ten: counts of different things share nothing else.
fn draw(counts: &BTreeMap<String, u64>) -> Result<String, Failure> {
    let rows = counts.len() as i32;
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, (900, 60 + 26 * counts.len() as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let most = counts.values().copied().max().unwrap_or(1).max(10) as f64 * 3.0;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(30)
            .margin_left(330)
            .build_cartesian_2d((0.5..most).log_scale(), 0..rows)?;
        chart.configure_mesh().disable_y_mesh().disable_y_axis().light_line_style(TRANSPARENT).draw()?;
        for (row, (what, count)) in (0..).zip(counts.iter().rev()) {
            let at = (*count as f64).max(0.5);
            chart.draw_series([Rectangle::new([(0.5, row), (at, row + 1)], NOW.filled())])?;
            let (x, y) = chart.backend_coord(&(at, row));
            area.draw(&Text::new(count.to_string(), (x + 6, y - 17), ("sans-serif", 13)))?;
            let (_, y) = chart.backend_coord(&(0.5, row));
            area.draw(&Text::new(what.clone(), (12, y - 17), ("sans-serif", 13)))?;
        }
        area.present()?;
    }
    Ok(picture)
}
