//! Revisions: short hashes of what a group's pods and engine are made from. Scaling fields are in
//! neither, so scaling never replaces a group.

use ray_bridge_model::DEFAULT_PORT;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::normal;
use crate::spec::{Model, Parallelism, RayClusterTemplate};
use crate::{EngineRevision, PodRevision};

/// Letters and digits of revisions. No vowels, so that no word appears: the alphabet of Kubernetes' own
/// `SafeEncodeString`, letters first.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The pair of revisions that a fleet asks for. In the status `<pod>/<engine>`, or `<pod>` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Revision {
    /// Hash of the pod template.
    pub pod: PodRevision,
    /// Hash of the model block; `None` when the template starts the engine.
    pub engine: Option<EngineRevision>,
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.engine {
            Some(engine) => write!(f, "{}/{engine}", self.pod),
            None => f.write_str(&self.pod),
        }
    }
}

/// A group's relation to the revision that is wanted of it. Ordered: the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevisionMatch {
    /// Its pods have another template, or one of the two has no model: it can only be replaced.
    PodsOutdated,
    /// Its pods match, its engine does not: the engine can be swapped in place.
    EngineOutdated,
    /// Pods and engine match.
    UpToDate,
}

impl RevisionMatch {
    /// Of a group with these revisions of pods and engine.
    pub fn of(pod: &PodRevision, engine: Option<&EngineRevision>, wanted: &Revision) -> Self {
        if *pod != wanted.pod || engine.is_some() != wanted.engine.is_some() {
            Self::PodsOutdated
        } else if engine == wanted.engine.as_ref() {
            Self::UpToDate
        } else {
            Self::EngineOutdated
        }
    }
}

impl<T: AsRef<str>> From<T> for Revision {
    fn from(text: T) -> Self {
        let mut parts = text.as_ref().splitn(2, '/');
        Self { pod: parts.next().unwrap_or_default().into(), engine: parts.next().map(Into::into) }
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.to_string()
    }
}

/// The revisions of a template and a model. The template's spelling does not count: see `normal`.
///
/// Fields of the model that only say how Rayfleet watches it (`startTimeout`, `probe`) are left out:
/// changing them must not restart an engine.
pub fn revision(template: &RayClusterTemplate, model: Option<&Model>) -> Revision {
    Revision {
        // Heads name the port of their engine for the Service, so another one is another pod.
        pod: match model.and_then(|model| model.port).filter(|port| *port != i32::from(DEFAULT_PORT)) {
            None => hash(&normal::template(template)),
            Some(port) => hash(&(normal::template(template), port)),
        }
        .into(),
        engine: model.map(|model| {
            // A data-parallel size of 1 that is written out is the same as none.
            let parallelism =
                Parallelism { data: model.parallelism.data.filter(|data| *data != 1), ..model.parallelism };
            let engine = Model { start_timeout: None, probe: None, parallelism, ..model.clone() };
            hash(&engine).into()
        }),
    }
}

/// Six letters and digits of a SHA-256 over the value's JSON with sorted keys. The first is a letter.
fn hash(value: &impl Serialize) -> String {
    // `Value` keeps maps sorted, so equal values have equal text whatever order they came in.
    let canonical = serde_json::to_value(value).unwrap_or(Value::Null).to_string();
    let digest = Sha256::digest(canonical.as_bytes());
    let mut number = digest.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let mut text = String::with_capacity(6);
    for position in 0..6 {
        let base: u64 = if position == 0 { 20 } else { 27 };
        let index = usize::try_from(number % base).unwrap_or_default();
        text.push(char::from(ALPHABET[index]));
        number /= base;
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::{PlacementPolicy, PlacementStrategy};

    fn template(image: &str) -> RayClusterTemplate {
        RayClusterTemplate { metadata: None, spec: json!({"headGroupSpec": {"image": image}}).into() }
    }

    fn model(args: &[&str]) -> Model {
        Model {
            name: "m".into(),
            source: "/m".into(),
            engine: Some(crate::spec::Engine {
                args: args.iter().map(ToString::to_string).collect(),
                ..Default::default()
            }),
            parallelism: Parallelism { tensor: 1, pipeline: 2, data: None },
            placement: None,
            port: None,
            start_timeout: None,
            probe: None,
        }
    }

    #[test]
    fn engine_arguments_change_only_the_engine_revision() {
        let before = revision(&template("a"), Some(&model(&[])));
        let after = revision(&template("a"), Some(&model(&["--x"])));
        assert_eq!(before.pod, after.pod);
        assert_ne!(before.engine, after.engine);
    }

    #[test]
    fn the_template_changes_only_the_pod_revision() {
        let before = revision(&template("a"), Some(&model(&[])));
        let after = revision(&template("b"), Some(&model(&[])));
        assert_ne!(before.pod, after.pod);
        assert_eq!(before.engine, after.engine);
    }

    #[test]
    fn another_port_is_another_pod() {
        let on = |port: Option<i32>| {
            let model = Model { port, ..model(&[]) };
            revision(&template("a"), Some(&model)).pod
        };
        assert_eq!(on(None), revision(&template("a"), None).pod);
        assert_eq!(on(None), on(Some(8000)));
        assert_ne!(on(None), on(Some(8001)));
        assert_ne!(on(Some(8001)), on(Some(8002)));
    }

    #[test]
    fn watch_settings_do_not_change_the_revision() {
        let mut watched = model(&[]);
        watched.start_timeout = Some("1h".into());
        assert_eq!(revision(&template("a"), Some(&model(&[]))), revision(&template("a"), Some(&watched)));
    }

    #[test]
    fn a_placement_policy_changes_the_engine_revision_only_if_set() {
        let before = revision(&template("a"), Some(&model(&[]))).engine;
        // The revision of this model before there was a placement; another one would restart every engine.
        assert_eq!(before.as_deref(), Some("xswdzb"));
        let mut spread = model(&[]);
        spread.placement =
            Some(PlacementPolicy { strategy: Some(PlacementStrategy::Spread), ..PlacementPolicy::default() });
        assert_ne!(before, revision(&template("a"), Some(&spread)).engine);
    }

    #[test]
    fn a_revision_is_read_as_it_is_written() {
        for text in ["abc", "abc/def"] {
            assert_eq!(Revision::from(text).to_string(), text);
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":2}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":2,"a":1}"#).unwrap();
        assert_eq!(hash(&one), hash(&two));
        assert!(hash(&one).starts_with(|c: char| c.is_ascii_lowercase()));
    }
}
