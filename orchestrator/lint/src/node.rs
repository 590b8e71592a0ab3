//! Values of YAML or JSON with the line and column of each. What is done with them is other modules' business.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::place::Place;

/// A value of a manifest and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it is written; for what an alias stands for, where the anchor is.
    pub at: Place,
    /// What it is.
    pub kind: Kind,
}

/// Kinds of values.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A text, a number, true, false or nothing.
    Scalar(Value),
    /// A plain scalar that looks like a float and is none of 64 bits, by its bytes in the text. The reader settles what it is.
    Beyond(Range<usize>),
    /// A list.
    List(Vec<Node>),
    /// An object, with every key as often as it is written.
    Object(Vec<Entry>),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where its name is written.
    pub at: Place,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// The value without places.
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::Beyond(_) => Value::Null,
            Kind::List(items) => items.iter().map(Self::value).collect(),
            Kind::Object(fields) => {
                let fields = fields.iter().map(|field| (field.key.clone(), field.node.value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { mut value, defined, .. } = Spanned::<Kind>::deserialize(deserializer)?;
        if let Kind::Beyond(range) = &mut value {
            let number = |of: Option<u64>| of.and_then(|of| usize::try_from(of).ok()).unwrap_or_default();
            let (start, length) = (number(defined.span().byte_offset()), number(defined.span().byte_len()));
            *range = start..start.saturating_add(length);
        }
        Ok(Self { at: Place::new(defined.line(), defined.column()), kind: value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyKind)
    }
}

struct AnyKind;

impl<'de> Visitor<'de> for AnyKind {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Scalar(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Kind, E> {
        self.visit_string(value.to_string())
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Kind, E> {
        self.visit_string(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        if !value.is_finite() {
            return Ok(Kind::Beyond(0..0));
        }
        // A float without a fraction becomes an integer, as where Go writes it as JSON: `08` is 8, `1e3` is 1000.
        let text = value.to_string();
        let whole = text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from));
        Ok(Kind::Scalar(whole.unwrap_or_else(|_| Number::from_f64(value).map_or(Value::Null, Value::Number))))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::String(text.to_owned())))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::String(text)))
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Kind, E> {
        self.visit_str(&String::from_utf8_lossy(bytes))
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Null))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Kind, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Node>()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Option<String>>>()? {
            let at = Place::new(key.defined.line(), key.defined.column());
            let key = key.value.ok_or_else(|| A::Error::custom("a key of nothing"))?;
            fields.push(Entry { key, at, node: map.next_value()? });
        }
        Ok(Kind::Object(fields))
    }
}
