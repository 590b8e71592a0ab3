//! How far the value goes that stands at the beginning of a text, and whether it can be a secret. Pure.

use super::HIDDEN;
use super::names::{counts, takes_numbers};

/// What ends a value without quotes.
const ENDS: &str = ",;&|<>)}]\"'\\";

/// Where a value ends: in brackets, in quotes that may be escaped, or a word; at the end of its line at the latest. 0: there is none, or
/// it is an object, whose names say more.
pub(super) fn end(text: &str) -> usize {
    let line = text.find('\n').unwrap_or(text.len());
    let line = text.get(..line).unwrap_or_default();
    // SecretStr('…'), Some("…"), &Secret{…}, ('…',).
    let named = line.find(|letter: char| !letter.is_ascii_alphanumeric() && !"_.:&*".contains(letter));
    let named = named.unwrap_or(line.len());
    match line.get(named..).and_then(|rest| rest.chars().next()) {
        Some('{') if named == 0 => return 0,
        Some('(' | '[' | '{') => return closing(line, named),
        _ => {}
    }
    // b'…', u'…'.
    let kind = line.find(|letter: char| !"bBuUrRfF".contains(letter)).unwrap_or(line.len());
    let is_quote = |at: usize| line.get(at..).is_some_and(|rest| rest.starts_with(['"', '\'']));
    let slashes = line.get(kind..).unwrap_or_default().bytes().take_while(|byte| *byte == b'\\').count();
    if kind <= 2 && is_quote(kind + slashes) {
        return quote(line, kind, slashes);
    }
    word(line)
}

/// Behind the bracket that closes the one at `from`.
fn closing(line: &str, from: usize) -> usize {
    let (mut depth, mut within, mut escaped) = (0_usize, None, false);
    for (at, letter) in line.char_indices().skip_while(|(at, _)| *at < from) {
        match (letter, within) {
            _ if escaped => {}
            ('"' | '\'', None) => within = Some(letter),
            (_, Some(quote)) if letter == quote => within = None,
            ('(' | '[' | '{', None) => depth += 1,
            (')' | ']' | '}', None) => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + letter.len_utf8();
                }
            }
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    line.len()
}

/// Behind the quote that closes the one behind the letters of its kind and the slashes.
fn quote(line: &str, kind: usize, slashes: usize) -> usize {
    let from = kind + slashes + 1;
    let closes = line.get(kind..from).unwrap_or_default();
    let inside = line.get(from..).unwrap_or_default();
    let end = if slashes > 0 {
        inside.find(closes)
    } else {
        let mut escaped = false;
        inside.char_indices().find_map(|(at, letter)| {
            let ends = closes.starts_with(letter) && !escaped;
            escaped = letter == '\\' && !escaped;
            ends.then_some(at)
        })
    };
    end.map_or(line.len(), |end| from + end + closes.len())
}

/// The end of a word. A comma is part of it, unless a space, a quote or another name with a value follows.
fn word(line: &str) -> usize {
    let ends = |letter: char| letter.is_whitespace() || ENDS.contains(letter);
    let mut at = 0;
    loop {
        let rest = line.get(at..).unwrap_or_default();
        at += rest.find(ends).unwrap_or(rest.len());
        let Some(behind) = line.get(at..).and_then(|rest| rest.strip_prefix(',')) else { return at };
        let next = behind.get(..behind.find(ends).unwrap_or(behind.len())).unwrap_or_default();
        if at == 0 || next.is_empty() || next.contains([':', '=']) {
            return at;
        }
        at += 1 + next.len();
    }
}

/// The end of a block of YAML (`|` or `>`), if a text begins with one: its first line, and those that are indented. The lines of a
/// log may have their time in front.
pub(super) fn block(text: &str) -> Option<usize> {
    let header = text.strip_prefix(['|', '>'])?;
    let header =
        header.trim_start_matches(|letter: char| letter.is_ascii_digit() || "+- \t\r".contains(letter));
    let begin = text.len() - header.len();
    if let Some(escaped) = header.strip_prefix("\\n") {
        let mut end = begin + 2;
        for line in escaped.split_inclusive("\\n") {
            let quote = line.find('"').unwrap_or(line.len());
            if end > begin + 2 && !line.starts_with(' ') {
                break;
            }
            end += quote;
            if quote < line.len() {
                break;
            }
        }
        return Some(end);
    }
    let mut end = begin + 1;
    for (number, line) in header.strip_prefix('\n')?.split_inclusive('\n').enumerate() {
        if number > 0 && !without_time(line).starts_with([' ', '\t']) {
            break;
        }
        end += line.len();
    }
    let kept = text.get(..end)?;
    Some(kept.trim_end_matches(['\r', '\n']).len())
}

fn without_time(line: &str) -> &str {
    match line.split_once(' ') {
        Some((time, rest))
            if time.ends_with('Z') && time.starts_with(|first: char| first.is_ascii_digit()) =>
        {
            rest
        }
        _ => line,
    }
}

/// A number, a word of a language or the name of a variable is no secret: "time to first token: 0.5".
pub(super) fn says_nothing(name: &str, value: &str) -> bool {
    let inside = value.trim_matches(['"', '\'', '\\', '[', ']', '(', ')', ' ']);
    let digits = |others: &[u8]| {
        inside.starts_with(|first: char| first.is_ascii_digit())
            && inside.bytes().all(|byte| byte.is_ascii_digit() || others.contains(&byte))
    };
    let number = if counts(name) {
        digits(b".,%/ smukMKG")
    } else {
        inside.len() < 8 && digits(b".%smu") && !takes_numbers(name)
    };
    let named = value.trim_matches(['"', '\'', '\\']).strip_prefix('$').is_some_and(|name| {
        let name = name.trim_matches(['{', '}', '(', ')']);
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    });
    let word = ["", "None", "null", "nil", "true", "false", "True", "False", HIDDEN].contains(&inside);
    number || named || word
}

/// Whether a value is a user with a password, as curl takes it. `1000:1000` is a user with a group, `host:80` a port.
pub(super) fn is_login(value: &str) -> bool {
    let inside = value.trim_matches(['"', '\'', '\\']);
    inside.split_once(':').is_some_and(|(user, password)| {
        let port = password.len() <= 5 && password.bytes().all(|byte| byte.is_ascii_digit());
        !user.is_empty() && !password.starts_with("//") && !port
    })
}

/// Hidden, in the quotes that it had.
pub(super) fn hidden(value: &str) -> String {
    let quote: String =
        value.chars().take_while(|letter| matches!(letter, '"' | '\'' | '\\' | '[')).collect();
    let end: String = quote.chars().filter(|letter| *letter != '[').collect();
    let bracket = if quote.starts_with('[') { "]" } else { "" };
    format!("{quote}{HIDDEN}{end}{bracket}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_its_writer_ended_it() {
        for (value, behind) in [
            ("abc", " d"),
            ("ab,c", ", d"),
            ("ab,c", ",d=e"),
            ("ab", ",\"d\""),
            ("\"a b\"", "c"),
            ("b'a b'", ", c"),
            ("SecretStr('a)b')", ", c"),
            ("Some(\"a b\")", " }"),
            ("('a b',)", " c"),
            ("['a]', 'b']", " c"),
            ("\\\"a b\\\"", ", c"),
            ("", "{\"a\": 1}"),
            ("", ",a"),
            ("'open", "\nnext"),
        ] {
            assert_eq!(end(&format!("{value}{behind}")), value.len(), "{value}{behind}");
        }
    }

    #[test]
    fn a_block_is_what_is_indented() {
        for (value, behind) in [
            ("|\n  a\n  b", "\nc: d"),
            ("|-\na", "\nb"),
            (">\n2030-01-01T00:00:01Z   a\n2030-01-01T00:00:01Z   b", "\n2030-01-01T00:00:01Z c"),
            ("|\\n  a\\n  b\\n", "c: d"),
            ("|\\n  a", "\"}"),
        ] {
            assert_eq!(block(&format!("{value}{behind}")), Some(value.len()), "{value}{behind}");
        }
        assert_eq!(block("| grep"), None);
        assert_eq!(block("a"), None);
    }

    #[test]
    fn a_login_is_told_from_ports_and_groups() {
        assert!(is_login("u:X") && is_login("'u:p w'"));
        for other in ["1000:1000", "host:8080", "http://h", "u", ":x"] {
            assert!(!is_login(other), "{other}");
        }
    }
}
