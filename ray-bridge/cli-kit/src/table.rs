//! Aligned columns as kubectl prints them: upper-case headers, two spaces between, no borders; and the
//! colours of cells.

use clap::builder::styling::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::clean::is_unseen;

/// The meaning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Neutral.
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
    pub fn paint(self, text: &str, color: bool) -> String {
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

/// A text of a table.
#[derive(Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone. Control characters, which could move the cursor, become spaces.
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: one_line(text.as_ref()), tone }
    }

    fn width(&self) -> usize {
        width(&self.text)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Text from a cluster on one line: control characters become spaces, runs of white space one space; what is not
/// seen, or changes the order of what is, is left out.
pub fn one_line(text: &str) -> String {
    let seen: String = text.chars().filter(|c| !is_unseen(*c)).collect();
    let words = seen.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Columns that a text takes on a terminal: a Chinese letter takes two, and an accent none.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Columns that a letter takes; a control character takes none.
pub fn letter_width(letter: char) -> usize {
    letter.width().unwrap_or_default()
}

/// Rows, of which the first one are the headers.
#[derive(Debug)]
pub struct Table(Vec<Vec<Cell>>);

impl Table {
    /// A table without rows.
    pub fn new<T: AsRef<str>>(headers: impl IntoIterator<Item = T>) -> Self {
        Self(vec![headers.into_iter().map(Cell::from).collect()])
    }

    /// Adds a row, which has as many cells as there are headers.
    pub fn push<T: Into<Cell>>(&mut self, row: impl IntoIterator<Item = T>) {
        let row: Vec<Cell> = row.into_iter().map(Into::into).collect();
        debug_assert_eq!(Some(row.len()), self.0.first().map(Vec::len), "a row does not fit the headers");
        self.0.push(row);
    }

    /// Headers and rows, one line each.
    pub fn render(&self, color: bool) -> String {
        Columns::default().lines(self, color)
    }
}

/// Widths of columns; kept between tables with the same headers, so that later rows stay aligned.
#[derive(Debug, Default)]
pub struct Columns(Vec<usize>);

impl Columns {
    /// The rows of a table, the headers only before the first one.
    pub fn lines(&mut self, table: &Table, color: bool) -> String {
        let headers_written = usize::from(!self.0.is_empty());
        for row in &table.0 {
            self.0.resize(row.len(), 0);
            for (width, cell) in self.0.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        table.0.iter().skip(headers_written).map(|row| self.line(row, color)).collect()
    }

    /// One line without trailing spaces.
    fn line(&self, cells: &[Cell], color: bool) -> String {
        let (mut line, mut gap) = (String::new(), 0);
        for (cell, width) in cells.iter().zip(&self.0) {
            if !cell.text.is_empty() {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(&cell.tone.paint(&cell.text, color));
                gap = 0;
            }
            gap += width.saturating_sub(cell.width()) + 2;
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
        table.push(["a-long-name".into(), Cell::new("Ready", Tone::Good), "".into()]);
        table.push(["b".into(), Cell::new("Failed", Tone::Bad), "no\nroom\u{1b}[2J".into()]);
        table.push(["", "", "é"]);
        table
    }

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        assert_eq!(
            table().render(false),
            "NAME         PHASE   MESSAGE\na-long-name  Ready\nb            Failed  no room [2J\n                     é\n"
        );
    }

    #[test]
    fn wide_letters_take_two_columns_and_accents_none() {
        let mut table = Table::new(["NAME", "PHASE"]);
        table.push(["通义千问", "Ready"]);
        table.push(["e\u{301}a", "Ready"]);
        table.push(["12345678", "Ready"]);
        assert_eq!(
            table.render(false),
            "NAME      PHASE\n通义千问  Ready\ne\u{301}a        Ready\n12345678  Ready\n"
        );
    }

    #[test]
    fn what_is_not_seen_is_left_out() {
        let unseen = "\u{200b}\u{200f}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}";
        for c in unseen.chars() {
            assert_eq!(one_line(&format!("{c}a{c}b {c} c{c}")), "ab c", "{c:?}");
        }
        assert_eq!(one_line("a\u{2028}b\u{2010}é\u{1f600}"), "a b\u{2010}é\u{1f600}");
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
        columns.lines(&table(), false);
        let mut later = Table::new(["NAME", "PHASE", "MESSAGE"]);
        later.push(["c", "Ready", "x"]);
        assert_eq!(columns.lines(&later, false), "c            Ready   x\n");
    }
}
