//! Texts that others wrote, as a terminal may show them: without what moves the cursor, changes its state or turns letters round.

/// Whether a character may not reach a terminal: a control character (C0, DEL, C1), or one that changes the direction of what
/// follows (Unicode's `Bidi_Control`: the marks, embeddings, overrides and isolates of UAX #9), by which a line can be made to look
/// like another one.
pub fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character has no width, or turns letters round: a name with it looks like another one. In running text some languages
/// and emoji need those without width.
pub fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2065}' | '\u{feff}')
        || (is_unsafe(letter) && !letter.is_control())
}

/// A line of a log: colour codes and other control sequences of terminals (ECMA-48: CSI and OSC) are left out, a tab stays, and what
/// else [`is_unsafe`] becomes `�`. Work and memory grow with the line's length.
pub fn line(text: &str) -> String {
    if !text.contains(is_unsafe) {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\t' => kept.push(letter),
            // What programs end lines with on other systems.
            '\r' if letters.peek().is_none() => {}
            '\u{1b}' => skip(&mut letters),
            _ if is_unsafe(letter) => kept.push('\u{fffd}'),
            _ => kept.push(letter),
        }
    }
    kept
}

/// Skips what follows an escape character: a sequence to its final byte, or one letter.
fn skip(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match letters.next() {
        Some('[') => {
            while letters.next_if(|letter| matches!(letter, '\u{20}'..='\u{3f}')).is_some() {}
            letters.next_if(|letter| matches!(letter, '\u{40}'..='\u{7e}'));
        }
        // Ends with BEL, or with an escape character and a backslash.
        Some(']') => {
            for letter in letters.by_ref() {
                match letter {
                    '\u{7}' => return,
                    '\u{1b}' => break,
                    _ => {}
                }
            }
            letters.next_if_eq(&'\\');
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_words_and_nothing_that_moves_a_cursor() {
        for (text, wanted) in [
            ("plain größe\tx", "plain größe\tx"),
            ("\u{1b}[1;31mred\u{1b}[0m\r", "red"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;url\u{1b}\\b", "ab"),
            ("a\rb\u{8}\u{9b}2J", "a\u{fffd}b\u{fffd}\u{fffd}2J"),
            ("user\u{202e}cod\u{2066}", "user\u{fffd}cod\u{fffd}"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}]open", ""),
            ("\u{1b}cx", "x"),
        ] {
            assert_eq!(line(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn nothing_unsafe_is_left_of_any_character() {
        for letter in (0..0x2100).filter_map(char::from_u32) {
            let cleaned = line(&format!("a{letter}b"));
            assert!(!cleaned.contains(|c| c != '\t' && is_unsafe(c)), "{letter:?}");
        }
    }
}
