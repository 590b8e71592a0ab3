//! JSON in pieces: the fields of an object, the elements of an array and the objects of a list as text, unread. A piece that cannot be
//! read says nothing about the others. However deep they are nested: what is skipped is skipped without recursion.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Names, in quotes as they stand, and values of an object; `None` if it is none.
pub fn fields(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut found = Vec::new();
    each_field(text, |name, value| found.push((name, value)))?;
    Some(found)
}

/// Takes each field of an object by itself, so that it does not matter how many there are; `None` if it is none, which may turn out after
/// some were taken.
pub fn each_field<'a>(text: &'a str, mut take: impl FnMut(&'a str, &'a str)) -> Option<()> {
    let mut rest = text.trim_start().strip_prefix('{')?.trim_start();
    if rest.starts_with('}') {
        return Some(());
    }
    loop {
        let (name, after) = value(rest)?;
        let (value, after) = value(after.trim_start().strip_prefix(':')?)?;
        take(name, value);
        rest = next(after, '}')?;
        if rest.is_empty() {
            return Some(());
        }
    }
}

/// Elements of an array; `None` if it is none.
pub fn elements(text: &str) -> Option<Vec<&str>> {
    let mut rest = text.trim_start().strip_prefix('[')?.trim_start();
    let mut found = Vec::new();
    if rest.starts_with(']') {
        return Some(found);
    }
    loop {
        let (element, after) = value(rest)?;
        found.push(element);
        rest = next(after, ']')?;
        if rest.is_empty() {
            return Some(found);
        }
    }
}

/// Values in a text of JSON, or more: the commas and the openings of arrays and objects outside of strings, and one. What it costs to keep a
/// text as a tree goes by them, not by its bytes.
pub fn values(text: &str) -> usize {
    let (mut count, mut quoted, mut escaped) = (1, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// A page of a list of the API server, its objects unread.
#[derive(Debug)]
pub struct Page<'a> {
    /// Version, and where the list goes on.
    pub metadata: ListMeta,
    /// The objects.
    pub items: Vec<&'a str>,
}

/// Metadata of a list, or of a bookmark.
#[derive(Debug, Default, Deserialize)]
pub struct ListMeta {
    /// The version that the list, or the watch, is at.
    #[serde(rename = "resourceVersion")]
    pub version: Option<String>,
    /// What the next page is asked for with; empty at the end.
    #[serde(rename = "continue")]
    pub token: Option<String>,
}

impl<'a> Page<'a> {
    /// Takes a page apart; `None` if it is none.
    pub fn of(text: &'a str) -> Option<Self> {
        let (mut metadata, mut items) = (ListMeta::default(), None);
        for (name, value) in fields(text)? {
            match name {
                "\"metadata\"" => metadata = serde_json::from_str(value).ok()?,
                "\"items\"" if value == "null" => items = Some(Vec::new()),
                "\"items\"" => items = Some(elements(value)?),
                _ => {}
            }
        }
        Some(Self { metadata, items: items? })
    }
}

/// The text of an object without `metadata.managedFields`: whoever may write the object may write times there that no library reads.
/// `None` if it is no object.
pub fn without_managed_fields(text: &str) -> Option<String> {
    let own = fields(text)?.into_iter().map(|(name, value)| {
        let metadata = if name == "\"metadata\"" { fields(value) } else { None };
        metadata.map_or_else(
            || format!("{name}:{value}"),
            |metadata| {
                let kept = metadata.into_iter().filter(|(name, _)| *name != "\"managedFields\"");
                let kept: Vec<String> = kept.map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{name}:{{{}}}", kept.join(","))
            },
        )
    });
    Some(format!("{{{}}}", own.collect::<Vec<_>>().join(",")))
}

/// One value of any kind at the beginning of a text, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    text.split_at_checked(values.byte_offset())
}

/// What follows a comma; nothing if what is there is the end.
fn next(text: &str, end: char) -> Option<&str> {
    let text = text.trim_start();
    match text.strip_prefix(',') {
        Some(rest) => Some(rest.trim_start()),
        None => text.starts_with(end).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_and_an_array_come_in_pieces() {
        let text = r#" {"a" : {"b": [1, "]}"]}, "c":null,"d\"e":-1.5e3 } "#;
        assert_eq!(
            fields(text).unwrap(),
            [("\"a\"", r#"{"b": [1, "]}"]}"#), ("\"c\"", "null"), (r#""d\"e""#, "-1.5e3")]
        );
        assert_eq!(
            elements(r#"[1, {"x": [2]} ,"a,b", [] ]"#).unwrap(),
            ["1", r#"{"x": [2]}"#, "\"a,b\"", "[]"]
        );
        assert_eq!((fields(" { } ").unwrap(), elements("[ ]").unwrap()), (vec![], vec![]));
    }

    #[test]
    fn values_are_counted_wherever_they_are() {
        for (text, count) in [
            ("1", 1),
            (r#""a,[{\",\\""#, 1),
            (r#"{"a": 1, "b": [2, 3]}"#, 5),
            (r#"[{"a\\": "x,y"}, [4], null]"#, 6),
        ] {
            assert_eq!(values(text), count, "{text}");
        }
        assert_eq!(values(&format!("[{}]", vec![r#"{"a":0}"#; 1_000].join(","))), 2_001);
        assert_eq!(values("[{}, []]"), 5, "what is empty counts twice");
    }

    #[test]
    fn other_values_are_not_taken_for_an_object_or_array() {
        for text in ["", "[1]", "{", "{\"a\"}", "{\"a\": 1", "{\"a\" 1}", "{\"a\": 1 \"b\": 2}", "{,}"] {
            assert_eq!(fields(text), None, "{text}");
        }
        for text in ["", "{}", "[", "[1", "[1 2]", "[,]", "[\"a]"] {
            assert_eq!(elements(text), None, "{text}");
        }
    }

    #[test]
    fn a_page_comes_with_its_objects_unread() {
        let page =
            Page::of(r#"{"items": [{"a": 1}, 2], "metadata": {"resourceVersion": "7", "continue": "t"}}"#)
                .unwrap();
        assert_eq!(page.items, [r#"{"a": 1}"#, "2"]);
        assert_eq!(page.metadata.version.as_deref(), Some("7"));
        assert_eq!(page.metadata.token.as_deref(), Some("t"));
        assert!(Page::of(r#"{"items": null}"#).unwrap().items.is_empty());
        for none in ["{}", "[]", r#"{"items": 1}"#, r#"{"items": [], "metadata": 1}"#] {
            assert!(Page::of(none).is_none(), "{none}");
        }
    }

    #[test]
    fn managed_fields_are_left_out_and_nothing_else() {
        let object = r#"{"kind": "A", "metadata": {"name": "a", "managedFields": [{"time": "9999"}], "uid": "u"}, "managedFields": 1}"#;
        let kept = r#"{"kind":"A","metadata":{"name":"a","uid":"u"},"managedFields":1}"#;
        assert_eq!(without_managed_fields(object).as_deref(), Some(kept));
        assert_eq!(without_managed_fields("{}").as_deref(), Some("{}"));
        assert_eq!(without_managed_fields("[1]"), None);
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let text = format!("{{\"a\": {deep}, \"b\": 1}}");
        assert_eq!(fields(&text).unwrap()[1], ("\"b\"", "1"));
        assert_eq!(elements(&format!("[{deep}, 1]")).unwrap()[1], "1");
    }
}
