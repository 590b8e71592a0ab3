//! Aligned columns as kubectl prints them: upper-case headers, two spaces between, no borders; and the
//! colours of cells. Fleets do not belong here.

use clap::builder::styling::{AnsiColor, Style};

/// The meaning of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Neutral.
    #[default]
    Plain,
    /// Good.
    Good,
    /// In progress.
    Busy,
    /// Needs attention.
    Bad,
    /// Less important.
    Faint,
}

impl Tone {
    /// The text with its colour, or without.
    pub(crate) fn paint(self, text: &str, color: bool) -> String {
        let style = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Busy => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
        };
        if color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone. Control characters, which could move the cursor, become spaces.
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: one_line(text.as_ref()), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Text from a cluster on one line: control characters become spaces, runs of white space one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Rows below headers.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<T: Into<String>>(headers: impl IntoIterator<Item = T>) -> Self {
        Self { headers: headers.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, which has as many cells as there are headers.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.headers.len(), "a row does not fit the headers");
        self.rows.push(row);
    }

    /// Headers and rows, one line each.
    pub(crate) fn render(&self, color: bool) -> String {
        let mut columns = Columns::default();
        columns.headers(self) + &columns.rows(self, color)
    }
}

/// Widths of columns; kept between tables, so that later rows stay aligned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns(Vec<usize>);

impl Columns {
    /// The line of headers.
    pub(crate) fn headers(&mut self, table: &Table) -> String {
        self.widen(table);
        let cells: Vec<Cell> = table.headers.iter().map(Cell::from).collect();
        self.line(&cells, false)
    }

    pub(crate) fn rows(&mut self, table: &Table, color: bool) -> String {
        self.widen(table);
        table.rows.iter().map(|row| self.line(row, color)).collect()
    }

    fn widen(&mut self, table: &Table) {
        self.0.resize(self.0.len().max(table.headers.len()), 0);
        let headers = table.headers.iter().map(|header| header.chars().count());
        for (width, header) in self.0.iter_mut().zip(headers) {
            *width = header.max(*width);
        }
        for row in &table.rows {
            for (width, cell) in self.0.iter_mut().zip(row) {
                *width = cell.text.chars().count().max(*width);
            }
        }
    }

    /// One line without trailing spaces.
    fn line(&self, cells: &[Cell], color: bool) -> String {
        let filled = cells.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(&self.0).take(filled).enumerate() {
            line.push_str(&cell.tone.paint(&cell.text, color));
            if index + 1 < filled {
                let gap = width.saturating_sub(cell.text.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', gap));
            }
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["NAME", "PHASE", "MESSAGE"]);
        table.push(vec!["a-long-name".into(), Cell::new("Ready", Tone::Good), "".into()]);
        table.push(vec!["b".into(), Cell::new("Failed", Tone::Bad), "no\nroom\u{1b}[2J".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        assert_eq!(
            table().render(false),
            "NAME         PHASE   MESSAGE\na-long-name  Ready\nb            Failed  no room [2J\n"
        );
    }

    #[test]
    fn colours_do_not_change_the_alignment() {
        let painted = table().render(true);
        assert!(painted.contains("\u{1b}[32mReady\u{1b}[0m\n"), "{painted:?}");
        assert!(painted.contains("Failed\u{1b}[0m  no room"), "{painted:?}");
    }

    #[test]
    fn widths_are_kept_between_tables() {
        let mut columns = Columns::default();
        columns.headers(&table());
        let mut later = Table::new(["NAME", "PHASE", "MESSAGE"]);
        later.push(vec!["c".into(), "Ready".into(), "x".into()]);
        assert_eq!(columns.rows(&later, false), "c            Ready   x\n");
    }
}
