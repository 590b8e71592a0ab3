//! Deserializers that keep little of a value. A reply may contain anything, in any depth and number, so the
//! memory is bounded by the type that it is read into; a value of an unexpected kind is skipped, not built.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Which part of a value of any kind is kept. The rest is parsed and dropped.
pub(crate) trait Pick: Default {
    /// Receives a string.
    fn text(&mut self, _text: &str) {}

    /// Receives an integer that fits.
    fn integer(&mut self, _number: i64) {}

    /// Receives another number.
    fn real(&mut self, _number: f64) {}

    /// Receives a boolean.
    fn truth(&mut self, _truth: bool) {}

    /// Receives an object.
    fn map<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    /// Receives a list.
    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A value of any kind, of which a [`Pick`] is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picked<P>(pub(crate) P);

impl<'de, P: Pick> Deserialize<'de> for Picked<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Picker(P::default())).map(Self)
    }
}

struct Picker<P>(P);

impl<'de, P: Pick> Visitor<'de> for Picker<P> {
    type Value = P;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<P, E> {
        self.0.text(text);
        Ok(self.0)
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<P, E> {
        self.0.integer(number);
        Ok(self.0)
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<P, E> {
        if let Ok(number) = i64::try_from(number) {
            self.0.integer(number);
        }
        Ok(self.0)
    }

    fn visit_f64<E: Error>(mut self, number: f64) -> Result<P, E> {
        self.0.real(number);
        Ok(self.0)
    }

    fn visit_bool<E: Error>(mut self, truth: bool) -> Result<P, E> {
        self.0.truth(truth);
        Ok(self.0)
    }

    fn visit_unit<E: Error>(self) -> Result<P, E> {
        Ok(self.0)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<P, A::Error> {
        self.0.map(map)?;
        Ok(self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, list: A) -> Result<P, A::Error> {
        self.0.list(list)?;
        Ok(self.0)
    }
}

/// The beginning of a string, at most this many bytes; empty if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text<const MOST: usize>(pub(crate) String);

impl<const MOST: usize> Pick for Text<MOST> {
    fn text(&mut self, text: &str) {
        text.get(..text.floor_char_boundary(MOST)).unwrap_or_default().clone_into(&mut self.0);
    }
}

/// Field: the beginning of a string; empty for any other value.
pub(crate) fn text<'de, D: Deserializer<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<String, D::Error> {
    Picked::<Text<MOST>>::deserialize(deserializer).map(|Picked(Text(text))| text)
}

/// Field: the beginning of a string; `None` for an empty one and for any other value.
pub(crate) fn words<'de, D: Deserializer<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    text::<D, MOST>(deserializer).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// A number, whole or not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Number(pub(crate) Option<f64>);

impl Pick for Number {
    #[expect(clippy::cast_precision_loss, reason = "amounts and times; nobody counts to 2^53")]
    fn integer(&mut self, number: i64) {
        self.0 = Some(number as f64);
    }

    fn real(&mut self, number: f64) {
        self.0 = Some(number);
    }
}

/// Field: a number; `None` for any other value.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Picked::<Number>::deserialize(deserializer).map(|Picked(Number(number))| number)
}

/// The first strings of an object with their names, at most `MOST`; other values are left out.
#[derive(Debug, Default)]
pub(crate) struct Texts<const MOST: usize>(pub(crate) BTreeMap<String, String>);

/// Longest name and longest value kept in [`Texts`]: the longest label name of Kubernetes has 317 characters.
const NAME: usize = 320;

impl<const MOST: usize> Pick for Texts<MOST> {
    fn map<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Picked(Text(name))) = map.next_key::<Picked<Text<NAME>>>()? {
            if self.0.len() < MOST {
                let Picked(Text(value)) = map.next_value::<Picked<Text<NAME>>>()?;
                self.0.insert(name, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Field: see [`Texts`].
pub(crate) fn texts<'de, D: Deserializer<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Picked::<Texts<MOST>>::deserialize(deserializer).map(|Picked(Texts(texts))| texts)
}

/// Field: null and a missing field as the type's default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Value of the entry of this name in an object; other entries are skipped.
pub(crate) fn entry<'de, A: MapAccess<'de>, P: Pick>(
    mut map: A,
    wanted: &str,
) -> Result<Option<P>, A::Error> {
    let mut found = None;
    while let Some(Picked(Text(name))) = map.next_key::<Picked<Text<64>>>()? {
        if name == wanted {
            found = Some(map.next_value::<Picked<P>>()?.0);
        } else {
            map.next_value::<IgnoredAny>()?;
        }
    }
    Ok(found)
}

/// Field: a list of at most `MOST` entries; a longer one is an error, null is an empty one.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(Lister::<T, MOST> { strict: true, of: PhantomData })
}

/// Field: the first entries of a list, at most `MOST`; null is an empty one.
pub(crate) fn first<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(Lister::<T, MOST> { strict: false, of: PhantomData })
}

struct Lister<T, const MOST: usize> {
    strict: bool,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Lister<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MOST {
            match list.next_element()? {
                Some(entry) => kept.push(entry),
                None => return Ok(kept),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            if self.strict {
                return Err(A::Error::custom(format_args!("more than {MOST} entries")));
            }
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct All {
        #[serde(default, deserialize_with = "text::<_, 8>")]
        text: String,
        #[serde(default, deserialize_with = "texts::<_, 2>")]
        texts: BTreeMap<String, String>,
        #[serde(default, deserialize_with = "first::<_, Picked<Number>, 3>")]
        first: Vec<Picked<Number>>,
        #[serde(default, deserialize_with = "number")]
        number: Option<f64>,
    }

    /// JSON of any kind, nested.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u64>().prop_map(|n| n.to_string()),
            Just("1e308".to_owned()),
            "[a-zé\u{1F600}]{0,20}".prop_map(|text| format!("\"{text}\"")),
        ];
        leaf.prop_recursive(6, 200, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(|all| format!("[{}]", all.join(","))),
                prop::collection::vec(("[a-z]{0,4}", inner), 0..8).prop_map(|all| {
                    let fields: Vec<String> = all.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_stays_within_its_bounds(json in any_json()) {
            let object = ["text", "texts", "number"].map(|field| format!("\"{field}\":{json}")).join(",");
            let all: All = serde_json::from_str(&format!("{{{object}}}")).unwrap();
            prop_assert!(all.text.len() <= 8 && all.texts.len() <= 2 && all.first.is_empty());
            prop_assert!(all.number.is_none_or(f64::is_finite));
            let listed: Result<All, _> = serde_json::from_str(&format!("{{\"first\":{json}}}"));
            prop_assert!(listed.is_err() || listed.unwrap().first.len() <= 3);
        }
    }

    #[test]
    fn a_list_above_its_limit_is_refused() {
        let strict = |json: &str| {
            list::<_, u8, 2>(&mut serde_json::Deserializer::from_str(json)).map_err(|e| e.to_string())
        };
        assert_eq!(strict("[1,2]"), Ok(vec![1, 2]));
        assert_eq!(strict("null"), Ok(vec![]));
        assert!(strict("[1,2,3]").unwrap_err().starts_with("more than 2 entries"));
        let lax = |json: &str| first::<_, u8, 2>(&mut serde_json::Deserializer::from_str(json)).unwrap();
        assert_eq!(lax("[1,2,\"x\",{\"a\":[]}]"), [1, 2]);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let read = |json: &str| text::<_, 3>(&mut serde_json::Deserializer::from_str(json)).unwrap();
        assert_eq!(read("\"aéé\""), "aé");
        assert_eq!(read("\"ééé\""), "é");
        assert_eq!(read("{\"a\": 1}"), "");
    }

    #[test]
    fn json_nested_too_deep_is_an_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        // Skipped without recursion of our own.
        assert!(
            text::<_, 3>(&mut serde_json::Deserializer::from_str(&deep)).is_ok_and(|text| text.is_empty())
        );
    }
}
