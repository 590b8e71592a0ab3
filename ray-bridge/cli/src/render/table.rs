//! Aligned columns: upper-case headers, two spaces between, no borders.

/// Formats headers and rows, one line each, without trailing spaces.
pub(crate) fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let mut lines = vec![headers.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))));
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: &[String; N]| {
        let filled: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", filled.join("  ").trim_end())
    };
    lines.iter().map(line).collect()
}

/// Text from a cluster on one line: control characters, which could move the cursor, become spaces.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        let rows = [["a-long-name", "x", ""], ["b", "no\nroom\u{1b}[2J", "é"]].map(|r| r.map(str::to_owned));
        assert_eq!(
            table(["NAME", "STATE", "Z"], &rows),
            "NAME         STATE        Z\na-long-name  x\nb            no room [2J  é\n"
        );
    }
}
