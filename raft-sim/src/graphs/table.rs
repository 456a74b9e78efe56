//! Tables that read well both as text and as Markdown.

use std::fmt;

/// Rows under a head; the first column is text, the others are numbers.
pub(super) struct Table {
    head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let rows = [&self.head].into_iter().chain(&self.rows);
            rows.map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        for (place, row) in [&self.head].into_iter().chain(&self.rows).enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if place == 0 {
                for (column, width) in widths.iter().enumerate() {
                    match column {
                        0 => write!(f, "| {:-<width$} ", "")?,
                        _ => write!(f, "| {:->width$} ", ":")?,
                    }
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["what", "n"]);
        table.rows.push(vec!["a".to_string(), "100".to_string()]);
        table.rows.push(vec!["–".to_string(), "2".to_string()]);
        let text = "\
| what |   n |
| ---- | --: |
| a    | 100 |
| –    |   2 |
";
        assert_eq!(table.to_string(), text);
    }
}
