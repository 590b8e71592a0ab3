//! Texts as the ledger keeps them: bounded, since what dashboards, KubeRay and pods say may be of any length and the status
//! has to fit into etcd.

use rayfleet_text::cut;

/// Longest text of the ledger, in bytes.
pub(crate) const LONGEST: usize = 512;

/// Longest text where space is short.
const SHORT: usize = 48;

/// What stands where something was left out.
const GAP: &str = " … ";

/// A text as the ledger keeps it. Of a long one the beginning stays and, since logs end with what matters, the end.
pub(crate) fn bounded(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.contains(is_odd) {
        text = text.replace(is_odd, " ");
    }
    if text.len() <= LONGEST {
        return text;
    }
    let rest = LONGEST - GAP.len();
    let head = text.floor_char_boundary(rest * 2 / 3);
    let tail = text.ceil_char_boundary(text.len() - rest / 3);
    let (head, tail) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    format!("{head}{GAP}{tail}")
}

/// Characters that JSON writes in six.
fn is_odd(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

/// The beginning of a text, for a status that would be too large.
pub(crate) fn short(text: &str) -> String {
    cut(text, SHORT)
}

/// Whether this is what the ledger holds of a text, in full or shortened.
pub(crate) fn is_kept(known: Option<&String>, text: &str) -> bool {
    let text = bounded(text);
    known.is_some_and(|known| *known == text || *known == short(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_both_ends() {
        let text = format!("the engine ended: {} OutOfMemoryError", "é\n".repeat(2000));
        let kept = bounded(text.clone());
        assert!(kept.len() <= LONGEST, "{}", kept.len());
        assert!(kept.starts_with("the engine ended: é") && kept.ends_with("é\n OutOfMemoryError"), "{kept}");
        assert_eq!(bounded(kept.clone()), kept);
        assert_eq!(bounded("a\u{0}b\u{7f}"), "a b ");
    }

    #[test]
    fn a_shortened_text_is_still_recognized() {
        let text = "é".repeat(100);
        let short = short(&text);
        assert!(short.len() <= SHORT);
        assert!(is_kept(Some(&short), &text) && is_kept(Some(&text), &text) && !is_kept(None, &text));
        assert!(
            !is_kept(Some(&short), "other") && !is_kept(Some(&text), "é"),
            "the beginning is not the whole"
        );
        let long = "x".repeat(LONGEST + 1);
        assert!(is_kept(Some(&bounded(long.clone())), &long));
    }
}
