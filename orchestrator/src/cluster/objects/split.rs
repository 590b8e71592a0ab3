//! JSON in pieces: the fields of an object and the elements of an array as text, unread. A piece that cannot be read says nothing about
//! the others. However deep they are nested: what is skipped is skipped without recursion.

use serde::de::IgnoredAny;

/// Names, in quotes as they stand, and values of an object; `None` if it is none.
pub(in crate::cluster) fn fields(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = text.trim_start().strip_prefix('{')?.trim_start();
    let mut found = Vec::new();
    if rest.starts_with('}') {
        return Some(found);
    }
    loop {
        let (name, after) = value(rest)?;
        let (value, after) = value(after.trim_start().strip_prefix(':')?)?;
        found.push((name, value));
        rest = next(after, '}')?;
        if rest.is_empty() {
            return Some(found);
        }
    }
}

/// Elements of an array; `None` if it is none.
pub(in crate::cluster) fn elements(text: &str) -> Option<Vec<&str>> {
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
    fn what_is_no_object_or_no_array_is_not_taken_for_one() {
        for text in ["", "[1]", "{", "{\"a\"}", "{\"a\": 1", "{\"a\" 1}", "{\"a\": 1 \"b\": 2}", "{,}"] {
            assert_eq!(fields(text), None, "{text}");
        }
        for text in ["", "{}", "[", "[1", "[1 2]", "[,]", "[\"a]"] {
            assert_eq!(elements(text), None, "{text}");
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let text = format!("{{\"a\": {deep}, \"b\": 1}}");
        assert_eq!(fields(&text).unwrap()[1], ("\"b\"", "1"));
        assert_eq!(elements(&format!("[{deep}, 1]")).unwrap()[1], "1");
    }
}
