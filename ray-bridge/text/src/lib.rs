//! Texts that others wrote. Here: cut to a length, to be repeated to people, as the status and events have room for so much only, and
//! what somebody writes may be of any length; texts of which the end matters, too, are cut by the core. In [`pieces`]: JSON of which
//! a part may be unreadable.

pub mod pieces;

/// What stands where something was left out.
const GAP: &str = "…";

/// The beginning of a text, of at most `most` bytes, with a mark at the end if there was more.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(GAP.len()));
    format!("{}{GAP}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_ends_with_a_mark_and_within_a_letter_nowhere() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "lo…");
        assert_eq!(cut("", 0), "");
        for most in 3..40 {
            for letters in ["ß", "\u{1F600}", "a"] {
                let text = letters.repeat(40);
                let kept = cut(&text, most);
                assert!(kept.len() <= most && kept.ends_with('…'), "{kept} of {most}");
                assert!(text.starts_with(kept.trim_end_matches('…')), "{kept}");
            }
        }
        assert_eq!(cut(&cut("longer", 5), 5), "lo…");
    }
}
