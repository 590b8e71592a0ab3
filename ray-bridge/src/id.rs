//! Typed ids of Ray: a submission id that is safe in a URL, and an opaque node id. Ids made from a content.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

/// Equal for equal contents, as 32 hexadecimal digits.
pub(crate) fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    format!("{:032x}", hash.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes)))
}

/// The name of a job, chosen by the caller; it makes a launch idempotent.
///
/// Ray itself accepts `a/../b` and then cannot find the job again, so the syntax is narrower here:
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SubmissionId(String);

/// A text that is not a valid [`SubmissionId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "submission id {0:?}: must be 1 to 128 of letters, digits, '.', '_' and '-', and begin with a letter or digit"
)]
pub struct InvalidSubmissionId(String);

impl SubmissionId {
    /// Checks the syntax given above.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidSubmissionId> {
        let text = text.into();
        let well_formed = text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if well_formed { Ok(Self(text)) } else { Err(InvalidSubmissionId(text.chars().take(200).collect())) }
    }

    /// The id as Ray writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SubmissionId {
    type Error = InvalidSubmissionId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ray's id of one incarnation of a node: a node that comes back has a new id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeId(pub String);

/// Longest node id that is accepted, in bytes.
const LONGEST_NODE_ID: usize = 128;

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;

        impl Visitor<'_> for Id {
            type Value = NodeId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a node id of at most {LONGEST_NODE_ID} bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<NodeId, E> {
                if text.len() > LONGEST_NODE_ID {
                    return Err(E::invalid_length(text.len(), &self));
                }
                Ok(NodeId(text.to_owned()))
            }
        }

        deserializer.deserialize_str(Id)
    }
}

impl NodeId {
    /// The id as Ray writes it (56 hexadecimal digits).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for NodeId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for NodeId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submission_ids_that_ray_cannot_find_again_are_refused() {
        for bad in ["", "raysubmit/../x", "a b", "-a", ".a", "ä", "a%2f", &"x".repeat(129)] {
            assert!(SubmissionId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "chat-7f9c-0-e1.2", "0_x", &"x".repeat(128)] {
            assert!(SubmissionId::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_stored_id_is_checked_when_it_is_read() {
        assert!(serde_json::from_str::<SubmissionId>("\"a/b\"").is_err());
    }
}
