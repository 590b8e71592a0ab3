//! Names as types: text that cannot be taken for a name of another kind. Written, read and shown as the bare text.

/// Types of names. A clone copies no text: short names lie in the value itself, the others are shared.
macro_rules! name_types {
    ($($(#[$about:meta])* $name:ident,)+) => {$(
        $(#[$about])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(smol_str::SmolStr);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: AsRef<str>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.as_ref().into())
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        // Maps are searched by the bare text, too.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<T: AsRef<str> + ?Sized> PartialEq<T> for $name {
            fn eq(&self, text: &T) -> bool {
                *self.0 == *text.as_ref()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                String::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                String::json_schema(generator)
            }
        }
    )+};
}

name_types! {
    /// Name of a group, which is that of its RayCluster.
    GroupName,
    /// Name of a pod.
    PodName,
    /// Name of a Kubernetes node.
    NodeName,
    /// Hash of a pod template.
    PodRevision,
    /// Hash of a model block.
    EngineRevision,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn a_name_is_written_read_and_shown_as_its_text() {
        for text in ["", "llama-pods1-0", "gke-training-pool-a3-megagpu-8g-7c1f09d2-x2vq"] {
            let name = NodeName::from(text);
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!((json.as_str(), name.to_string().as_str()), (format!("\"{text}\"").as_str(), text));
            assert_eq!(format!("{name:?}"), json);
            assert_eq!(serde_json::from_str::<NodeName>(&json).unwrap(), name);
        }
    }

    #[test]
    fn maps_are_searched_by_the_bare_text() {
        let of = |text: &str| GroupName::from(text);
        let long = "g".repeat(53);
        let names = [of("a"), of(&long)];
        let (hashed, sorted) = (HashSet::from(names.clone()), BTreeSet::from(names));
        assert!(["a", &long].iter().all(|text| hashed.contains(*text) && sorted.contains(*text)));
    }

    #[test]
    fn a_name_takes_no_more_room_than_a_string() {
        assert_eq!(size_of::<Option<GroupName>>(), size_of::<Option<String>>());
    }
}
