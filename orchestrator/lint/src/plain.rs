//! Texts of a manifest as they may be shown anywhere: in a terminal, in JSON, and in a comment of YAML.

/// One line without control characters, of Unicode's C0 and C1, and without those that turn the direction of what follows them (Unicode
/// Standard Annex 9, 2): a manifest may have what would move a terminal's cursor, or show a line as another one. U+2028 and U+2029 end a
/// comment for readers of YAML 1.1 (5.4, Line Break Characters), and what follows would be read.
pub(crate) fn plain(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns(c);
    text.chars().filter(|c| *c != '\r').map(|c| if breaks(c) { ' ' } else { c }).collect()
}

fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
