//! Values that names gave away, found wherever else they occur. Pure.
//!
//! Only the beginning of a value is searched, so that long ones take no memory; what follows it is compared.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::HIDDEN;

/// Shortest value that is learned, in bytes: a shorter one is part of many words.
const SHORTEST: usize = 8;
/// Bytes of a value that are searched.
const BEGINNING: usize = 128;
/// Most values that are searched: what is searched takes some dozen bytes for each of theirs.
const MOST: usize = 10_000;

/// What is searched.
#[derive(Debug, Default)]
pub(super) struct Learned {
    search: Option<AhoCorasick>,
    /// How the values go on, by the number of what is searched.
    rests: Vec<Vec<String>>,
}

impl Learned {
    /// These values, but for those that are too short and those that are a part of `names`, which stay. An error says why they cannot be
    /// searched: nothing may be written then.
    pub(super) fn of(found: &BTreeSet<String>, names: &BTreeSet<String>) -> Result<Self, String> {
        let is_name = |value: &str| names.iter().any(|name| name.contains(value));
        let values = found.iter().filter(|value| value.len() >= SHORTEST && !is_name(value));
        let mut by_beginning: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for value in values.flat_map(|value| [Some(value.clone()), escaped(value)]).flatten() {
            let (beginning, rest) = value.split_at(value.floor_char_boundary(BEGINNING));
            by_beginning.entry(beginning.to_owned()).or_default().push(rest.to_owned());
        }
        if by_beginning.len() > MOST {
            return Err(format!(
                "it has {} different secrets, of which {MOST} can be hidden",
                by_beginning.len()
            ));
        }
        if by_beginning.is_empty() {
            return Ok(Self::default());
        }
        // Of two the longer one, if it begins like the other.
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(by_beginning.keys());
        let search = search.map_err(|error| format!("its secrets cannot be searched: {error}"))?;
        Ok(Self { search: Some(search), rests: by_beginning.into_values().collect() })
    }

    /// The text without them. Of a value that is cut off in it what there is goes, from its beginning.
    pub(super) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(search) = &self.search else { return Cow::Borrowed(text) };
        let (mut hidden, mut at) = (None::<String>, 0);
        while let Some(found) = search.find(Input::new(text).range(at..)) {
            let behind = text.get(found.end()..).unwrap_or_default();
            let rests = self.rests.get(found.pattern().as_usize()).into_iter().flatten();
            let more = rests.map(|rest| common(rest, behind)).max().unwrap_or_default();
            let into = hidden.get_or_insert_with(String::new);
            into.push_str(text.get(at..found.start()).unwrap_or_default());
            into.push_str(HIDDEN);
            at = found.end() + more;
        }
        match hidden {
            Some(hidden) => Cow::Owned(hidden + text.get(at..).unwrap_or_default()),
            None => Cow::Borrowed(text),
        }
    }
}

/// A value of several lines or with quotes, as it stands in JSON within a text.
fn escaped(value: &str) -> Option<String> {
    let json = serde_json::Value::from(value).to_string();
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    (inside != value).then(|| inside.to_owned())
}

/// Bytes by which two texts begin alike.
fn common(one: &str, other: &str) -> usize {
    let alike = one.chars().zip(other.chars()).take_while(|(one, other)| one == other);
    alike.map(|(letter, _)| letter.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(values: &[&str]) -> Learned {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Learned::of(&values, &BTreeSet::new()).unwrap()
    }

    #[test]
    fn one_huge_value_does_not_unlearn_the_others() {
        let huge: String =
            (0..400_000_u32).map(|at| char::from(b'a' + u8::try_from(at * 7 % 26).unwrap())).collect();
        let learned = learned(&[&huge, "KNOWN-secret", "KNOWN-secret-2"]);
        assert_eq!(learned.hide("said KNOWN-secret and KNOWN-secret-2!"), "said <redacted> and <redacted>!");
        assert_eq!(learned.hide(&format!("a {huge} b")), "a <redacted> b");
        let part = huge.get(..5_000).unwrap();
        assert_eq!(learned.hide(&format!("a {part}… b")), "a <redacted>… b");
    }

    #[test]
    fn values_that_begin_alike_are_hidden_whole() {
        let beginning = "é".repeat(100);
        let values = [format!("{beginning}one-end"), format!("{beginning}other-and-longer")];
        let learned = learned(&[&values[0], &values[1], "two\nlines \"q\""]);
        for value in &values {
            assert_eq!(learned.hide(&format!("x {value} y")), "x <redacted> y");
        }
        assert_eq!(learned.hide(r#"{"a":"two\nlines \"q\""}"#), r#"{"a":"<redacted>"}"#);
        assert_eq!(learned.hide("nothing"), "nothing");
    }

    #[test]
    fn more_values_than_can_be_searched_are_an_error() {
        let many: BTreeSet<String> = (0..=MOST).map(|number| format!("value-{number:06}")).collect();
        assert!(Learned::of(&many, &BTreeSet::new()).unwrap_err().contains("10001 different secrets"));
        assert!(Learned::of(&many, &BTreeSet::from(["a-value-000000".to_owned()])).is_ok());
    }
}
