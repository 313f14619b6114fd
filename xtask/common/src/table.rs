//! Plain tables, to read and to grep.

use comfy_table::{ContentArrangement, Table, TableComponent, presets};

/// Lays rows out under their heads, each row a line however long it is.
#[must_use]
pub fn render(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '-')
        .set_style(TableComponent::MiddleHeaderIntersections, ' ')
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heads)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let table = super::render(&["a", "long head"], &[vec!["wide cell".into(), "x".into()]]);
        assert_eq!(
            table,
            "a          long head\n---------- ----------\nwide cell  x\n"
        );
    }
}
