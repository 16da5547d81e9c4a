//! Text tables for people.

use std::fmt::Write;

/// Columns aligned by spaces: the first `left` columns to the left, the others, numbers, to the
/// right. The first row is the head. What would garble a terminal is replaced.
pub(crate) fn table(rows: &[Vec<String>], left: usize) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let gap = if column == 0 { "" } else { "  " };
            let cell = cell.replace(char::is_control, "\u{fffd}");
            let (before, after) = if column < left { ("", pad.as_str()) } else { (&*pad, "") };
            // Writing to a string cannot fail.
            let _ = write!(line, "{gap}{before}{cell}{after}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["topic", "x", "n"]), row(["a", "yy", "100"]), row(["bcdefg", "", "7"])];
        assert_eq!(table(&rows, 2), "topic   x     n\na       yy  100\nbcdefg        7\n");
        let hostile = [vec!["a\u{1b}[2J\n".to_owned(), "b".to_owned()]];
        assert_eq!(table(&hostile, 2), "a\u{fffd}[2J\u{fffd}  b\n");
    }
}
