//! The size of the terminal, and text cut to it. Colours count for nothing, and are ended where a line is cut.

use rayfleet_cli_kit::table::letter_width;

/// Columns and rows of the terminal that standard output is; `None` if it is none.
pub(crate) fn size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some((width.0.into(), height.0.into()))
}

/// Lines of at most `width` columns; what is cut ends with `…`.
pub(crate) fn cut_lines(text: &str, width: usize) -> String {
    text.lines().flat_map(|line| [cut(line, width), "\n".to_owned()]).collect()
}

/// The same, and not more lines than the screen has; the last one says how many are left out.
pub(crate) fn cut_screen(text: &str, (width, height): (usize, usize)) -> String {
    let (count, room) = (text.lines().count(), height.saturating_sub(1).max(1));
    if count <= room {
        return cut_lines(text, width);
    }
    let kept: String = text.lines().take(room - 1).flat_map(|line| [line, "\n"]).collect();
    cut_lines(&kept, width) + &format!("… {} more lines\n", count + 1 - room)
}

fn cut(line: &str, width: usize) -> String {
    let mut kept = String::new();
    let (mut seen, mut escape, mut painted) = (0, false, false);
    // Where the last letter that fits begins, if more follow it.
    let mut last = None;
    for letter in line.chars() {
        if escape || letter == '\u{1b}' {
            escape = letter != 'm';
            painted = true;
        } else {
            seen += letter_width(letter);
            // The mark needs a column, too.
            if seen >= width {
                last = last.or(Some(kept.len()));
            }
            if seen > width {
                break;
            }
        }
        kept.push(letter);
    }
    if seen <= width {
        return kept;
    }
    kept.truncate(last.unwrap_or_default());
    kept + "…" + if painted { "\u{1b}[0m" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_ends_with_a_mark() {
        assert_eq!(cut_lines("abcdef\nabcde\n\nßßßßßß", 5), "abcd…\nabcde\n\nßßßß…\n");
        assert_eq!(cut_lines("ab", 1), "…\n");
        assert_eq!(cut_lines("通义千\n通义\na通义", 4), "通…\n通义\na通…\n");
    }

    #[test]
    fn colours_have_no_width_and_end() {
        assert_eq!(cut("\u{1b}[32mReady\u{1b}[0m ok", 8), "\u{1b}[32mReady\u{1b}[0m ok");
        assert_eq!(cut("\u{1b}[32mReady\u{1b}[0m", 4), "\u{1b}[32mRea…\u{1b}[0m");
    }

    #[test]
    fn a_screen_says_what_it_has_no_room_for() {
        assert_eq!(cut_screen("a\nb\nc\n", (9, 4)), "a\nb\nc\n");
        assert_eq!(cut_screen("a\nb\nc\nd\n", (9, 4)), "a\nb\n… 2 more lines\n");
        assert_eq!(cut_screen("a\nb\n", (9, 0)), "… 2 more lines\n");
    }
}
