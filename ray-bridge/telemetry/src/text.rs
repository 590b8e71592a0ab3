//! The text formats of Prometheus (0.0.4) and `OpenMetrics` (1.0), read line by line: nothing but the wanted series is looked at, and
//! nothing is kept or copied, so a text costs no memory whatever it holds. A line that cannot be read is skipped, and says
//! nothing about the others. Names in quotes (UTF-8 names, which a server sends only to those who ask for them) count as such lines.
//!
//! Of a histogram each bucket is a sample of `NAME_bucket` with its bound as the label `le`; beside it are `NAME_sum` and
//! `NAME_count`. Types, help, timestamps and exemplars are skipped.

use std::borrow::Cow;

/// One sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The wanted name.
    pub name: &'a str,
    /// What tells it from other samples of that name.
    pub labels: Labels<'a>,
    /// Any number, NaN and infinities too.
    pub value: f64,
}

/// Labels of a sample, as written: from behind the opening brace to the closing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Labels<'a>(&'a str);

/// Samples of the series of these names, in the order of the text.
pub fn samples<'a>(text: &'a [u8], names: &'a [&'a str]) -> impl Iterator<Item = Sample<'a>> {
    text.split(|byte| *byte == b'\n').filter_map(move |line| {
        let line = line.trim_ascii();
        let (name, rest) = line.split_at(line.iter().position(|byte| b"{ \t".contains(byte))?);
        let name = names.iter().find(|wanted| wanted.as_bytes() == name)?;
        let (labels, rest) = labels(std::str::from_utf8(rest).ok()?)?;
        Some(Sample { name, labels, value: value(rest)? })
    })
}

impl<'a> Labels<'a> {
    /// The value of a label; a copy only if there is an escape in it.
    pub fn get(&self, wanted: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.0;
        while let Some((name, written, after)) = label(rest) {
            if name == wanted {
                return Some(unescaped(written));
            }
            rest = after;
        }
        None
    }
}

/// All labels, if there are any, and what follows them.
fn labels(text: &str) -> Option<(Labels<'_>, &str)> {
    let Some(text) = text.trim_ascii_start().strip_prefix('{') else { return Some((Labels("}"), text)) };
    let mut rest = text.trim_ascii_start();
    while !rest.starts_with('}') {
        rest = label(rest)?.2;
    }
    let (labels, rest) = text.split_at_checked(text.len() - rest.len() + 1)?;
    Some((Labels(labels), rest))
}

/// The first label: its name, its value as written, and what follows, which is the next one or the closing brace.
fn label(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_ascii();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let rest = rest.trim_ascii_start().strip_prefix('"').filter(|_| is_name)?;
    let mut escaped = false;
    let end = rest.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (value, after) = rest.split_at_checked(end)?;
    let after = after.strip_prefix('"')?.trim_ascii_start();
    match after.strip_prefix(',') {
        Some(next) => Some((name, value, next.trim_ascii_start())),
        None => after.starts_with('}').then_some((name, value, after)),
    }
}

fn unescaped(written: &str) -> Cow<'_, str> {
    if !written.contains('\\') {
        return Cow::Borrowed(written);
    }
    let mut value = String::with_capacity(written.len());
    let mut letters = written.chars();
    while let Some(letter) = letters.next() {
        match (letter, letters.as_str().chars().next()) {
            ('\\', Some(next @ ('\\' | '"' | 'n'))) => {
                value.push(if next == 'n' { '\n' } else { next });
                letters.next();
            }
            _ => value.push(letter),
        }
    }
    Cow::Owned(value)
}

/// The value behind the labels. A timestamp may follow, and an exemplar, and nothing else.
fn value(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let mut next = words.next();
    if next.is_some_and(|time| time.parse::<f64>().is_ok()) {
        next = words.next();
    }
    matches!(next, None | Some("#")).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value of the only sample of `a`, and its label `l`.
    fn read(line: &str) -> Option<(f64, Option<String>)> {
        let mut found = samples(line.as_bytes(), &["a"]);
        let sample = found.next()?;
        assert_eq!(found.next(), None, "{line}");
        Some((sample.value, sample.labels.get("l").map(Cow::into_owned)))
    }

    #[test]
    fn a_value_is_read_whatever_stands_around_it() {
        for line in [
            "a 5",
            "  a\t5.0 \r\n",
            "# TYPE a gauge\na 5\n# EOF",
            "a{} 5",
            "a {k=\"v\"} 5 1795339883749",
            "a 5 -1.5e3",
            "a{k=\"v\",} 5 # {trace=\"x y} #\"} 0.7 1.5",
            "a 5 17 # {} 1",
            "a{k=\"}\",m=\"{a 1\"}5",
            "b 1\nab 2\na 5\na{l=\"unclosed} 7",
        ] {
            assert_eq!(read(line), Some((5.0, None)), "{line}");
        }
    }

    #[test]
    fn a_label_may_hold_anything() {
        for (written, value) in [
            ("a b", "a b"),
            ("} 7 # {", "} 7 # {"),
            (r#"say \"1\", then \\"#, r#"say "1", then \"#),
            (r"two\nlines, no \t", "two\nlines, no \\t"),
            ("", ""),
        ] {
            let line = format!("a{{k=\"x\" , l = \"{written}\"}} 1");
            assert_eq!(read(&line), Some((1.0, Some(value.to_owned()))), "{line}");
        }
    }

    #[test]
    fn numbers_may_be_infinite_or_none() {
        assert_eq!(read("a +Inf"), Some((f64::INFINITY, None)));
        assert_eq!(read("a -Inf"), Some((f64::NEG_INFINITY, None)));
        assert!(read("a NaN").is_some_and(|(value, _)| value.is_nan()));
        assert_eq!(read("a 1e-3"), Some((0.001, None)));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_skipped() {
        for line in [
            "a",
            "a ",
            "a x",
            "a{",
            "a{} ",
            "a{l} 1",
            "a{l=1} 1",
            "a{l=\"1\" m=\"2\"} 1",
            "a{=\"1\"} 1",
            "a{,} 1",
            "a{\"l\"=\"1\"} 1",
            "a{l=\"1\\\"} 1",
            "a 1 x",
            "a 1 2 3",
            "{a=\"1\"} 1",
            "A 1",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        let labels: Vec<_> =
            samples(b"a{l=\"\xff\"} 1\na{l=\"2\"} 2", &["a"]).map(|sample| sample.labels.get("l")).collect();
        assert_eq!(labels, [Some(Cow::Borrowed("2"))], "the first is not UTF-8");
    }

    #[test]
    fn buckets_of_a_recorded_histogram_have_their_bounds() {
        let recorded = include_bytes!("../../tests/fixtures/vllm_metrics.txt");
        let names = ["vllm:iteration_tokens_total_bucket", "vllm:iteration_tokens_total_count"];
        let found: Vec<_> = samples(recorded, &names).collect();
        let bounds: Vec<f64> =
            found.iter().filter_map(|sample| sample.labels.get("le")?.parse().ok()).collect();
        assert!(bounds.is_sorted() && bounds.last() == Some(&f64::INFINITY), "{bounds:?}");
        assert_eq!(found.len(), bounds.len() + 1);
        let all = found.iter().rev().take(2).map(|sample| sample.value);
        assert_eq!(all.collect::<Vec<_>>(), [found[bounds.len()].value; 2], "the last bucket has all");
    }
}
