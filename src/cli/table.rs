//! Tables: columns as wide as their widest cell, with nothing in them that a terminal would act on.

use crate::core::visible::on_one_line;

/// One line for each row, the header first. Every row has as many cells as the header.
pub(super) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let header = header.map(str::to_owned).to_vec();
    columns_of(header, rows.into_iter().map(|row| row.to_vec()).collect())
}

/// [`table`] where the number of columns is not known beforehand.
pub(super) fn columns_of(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let columns = header.len();
    let rows: Vec<Vec<String>> = std::iter::once(header)
        .chain(rows)
        .map(|row| row.iter().map(|cell| on_one_line(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_breaks_them() {
        let rows = vec![
            ["a".to_owned(), "x\ny".to_owned()],
            ["long one".to_owned(), "\u{1b}[2J".to_owned()],
        ];
        assert_eq!(
            table(["id", "what"], rows),
            "id        what\na         x\\ny\nlong one  \\u{1b}[2J\n"
        );
    }
}
