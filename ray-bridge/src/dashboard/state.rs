//! Ray's state API: nodes, actors and placement groups share one form of reply.

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess};
use url::form_urlencoded::Serializer;

use super::wire;
use crate::NodeId;
use crate::lean::{self, Number, Pick, Picked, Text};
use crate::placement::{
    ForeignActor, GroupState, Life, RANK_ACTOR_CLASS, RankName, ReportedBundle, ReportedRank,
};

/// Ray returns at most this many entries.
const LIMIT: usize = 10_000;
/// The most entries that are accepted; a longer list is an error. An engine has at most 1024 ranks, and Ray
/// remembers 1000 dead nodes.
const MOST: usize = 4096;

/// The filter `key = value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Column, such as `class_name`.
    pub key: &'a str,
    /// Value.
    pub value: &'a str,
}

/// An actor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Actor {
    /// Class.
    #[serde(default, deserialize_with = "lean::text::<_, 256>")]
    pub class_name: String,
    /// Name, empty if it has none.
    #[serde(default, deserialize_with = "lean::text::<_, 256>")]
    pub name: String,
    /// `DEPENDENCIES_UNREADY`, `PENDING_CREATION`, `ALIVE`, `RESTARTING` or `DEAD`.
    #[serde(deserialize_with = "lean::text::<_, 32>")]
    pub state: String,
    /// Node; `None` while it has none.
    #[serde(default, deserialize_with = "wire::id")]
    pub node_id: Option<NodeId>,
    /// Placement group that it runs in.
    #[serde(default, deserialize_with = "lean::words::<_, 128>")]
    pub placement_group_id: Option<String>,
    /// Number of restarts; Ray writes it as a string.
    #[serde(default, deserialize_with = "wire::count")]
    pub num_restarts: u64,
    #[serde(default)]
    death_cause: Picked<Cause>,
    #[serde(default)]
    required_resources: Picked<GpuBundle>,
}

/// Ray's cause of death: `{"actor_died_error_context": {"error_message": …}}` or another context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cause(String);

/// Longest cause of death that is read, in bytes.
const LONGEST_CAUSE: usize = 4 << 10;

impl Pick for Cause {
    fn map<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            let Picked(Context(words)) = map.next_value::<Picked<Context>>()?;
            if self.0.is_empty() {
                self.0 = words;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Context(String);

impl Pick for Context {
    fn map<'de, A: MapAccess<'de>>(&mut self, map: A) -> Result<(), A::Error> {
        let Text(words) = lean::entry::<A, Text<LONGEST_CAUSE>>(map, "error_message")?.unwrap_or_default();
        self.0 = point(&words);
        Ok(())
    }
}

/// The first line, at most 300 characters. The lines after it are general advice.
fn point(words: &str) -> String {
    let point = words.split("Some common causes include").next().unwrap_or_default();
    point.lines().next().unwrap_or_default().trim_end().chars().take(300).collect()
}

/// The bundle whose GPU an actor holds: in a placement group Ray names that resource
/// `GPU_group_<bundle>_<placement group>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct GpuBundle(Option<u32>);

impl Pick for GpuBundle {
    fn map<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Picked(Text(name))) = map.next_key::<Picked<Text<256>>>()? {
            let amount = map.next_value::<Picked<Number>>()?.0.0.unwrap_or(0.0);
            let of = |name: &str| name.strip_prefix("GPU_group_")?.split_once('_')?.0.parse().ok();
            if amount > 0.0 && self.0.is_none() {
                self.0 = of(&name);
            }
        }
        Ok(())
    }
}

/// A placement group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlacementGroup {
    /// Id.
    #[serde(deserialize_with = "lean::text::<_, 128>")]
    pub placement_group_id: String,
    /// Name.
    #[serde(default, deserialize_with = "lean::text::<_, 256>")]
    pub name: String,
    #[serde(deserialize_with = "lean::text::<_, 32>")]
    state: String,
    /// Bundles by index.
    #[serde(default, deserialize_with = "lean::list::<_, _, MOST>")]
    pub bundles: Vec<Bundle>,
    #[serde(default, deserialize_with = "lean::or_default")]
    stats: Stats,
}

/// One bundle of a placement group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bundle {
    bundle_id: BundleId,
    /// Node; `None` while it has none.
    #[serde(default, deserialize_with = "wire::id")]
    pub node_id: Option<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct BundleId {
    bundle_index: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Stats {
    #[serde(default, deserialize_with = "lean::text::<_, 64>")]
    scheduling_state: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reply<T> {
    result: bool,
    #[serde(default, deserialize_with = "lean::text::<_, 500>")]
    msg: String,
    data: Option<Data<T>>,
}

#[derive(Debug, Deserialize)]
struct Data<T> {
    result: Option<Entries<T>>,
}

#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Entries<T> {
    #[serde(default)]
    num_filtered: usize,
    #[serde(deserialize_with = "lean::list::<_, _, MOST>")]
    result: Vec<T>,
    #[serde(default, deserialize_with = "lean::text::<_, 500>")]
    partial_failure_warning: String,
}

impl<T> Reply<T> {
    /// All entries; an error if the reply is truncated.
    pub(super) fn into_entries(self) -> Result<Vec<T>, String> {
        let entries = self.data.and_then(|d| d.result).filter(|_| self.result);
        let Some(entries) = entries else {
            return Err(format!("no result: {}", self.msg));
        };
        if entries.num_filtered > entries.result.len() {
            return Err(format!("{} of {} entries", entries.result.len(), entries.num_filtered));
        }
        if !entries.partial_failure_warning.is_empty() {
            tracing::warn!(warning = entries.partial_failure_warning, "Ray lists only a part of the entries");
        }
        Ok(entries.result)
    }
}

/// Path of a list call, with escaped filters.
pub(super) fn path(kind: &str, filters: &[Filter<'_>]) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("detail", "1").append_pair("limit", &LIMIT.to_string());
    for filter in filters {
        query
            .append_pair("filter_keys", filter.key)
            .append_pair("filter_predicates", "=")
            .append_pair("filter_values", filter.value);
    }
    format!("/api/v0/{kind}?{}", query.finish())
}

impl Actor {
    /// The actor as a rank; `None` if it is not one.
    pub fn rank(&self) -> Option<ReportedRank> {
        let name = RankName::parse(&self.name).filter(|_| self.class_name == RANK_ACTOR_CLASS)?;
        let life = match self.state.as_str() {
            "ALIVE" => Life::Alive,
            "DEAD" => Life::Dead(self.death()),
            _ => Life::Starting,
        };
        Some(ReportedRank { name, node_id: self.node_id.clone(), life })
    }

    /// The actor as a foreign one in an engine's placement group: alive, not a rank, and holding the GPU of a
    /// bundle.
    pub fn foreign(&self) -> Option<ForeignActor> {
        let bundle =
            self.required_resources.0.0.filter(|_| self.rank().is_none() && self.state == "ALIVE")?;
        let name = if self.name.is_empty() { &self.class_name } else { &self.name };
        Some(ForeignActor { name: name.clone(), bundle, node_id: self.node_id.clone() })
    }

    /// Ray's cause of death.
    pub(crate) fn death(&self) -> String {
        let words = &self.death_cause.0.0;
        if words.is_empty() { "Ray gives no cause".to_owned() } else { words.clone() }
    }
}

impl PlacementGroup {
    /// Its state.
    pub fn state(&self) -> GroupState {
        match self.state.as_str() {
            "PENDING" | "PREPARED" => GroupState::Pending(self.stats.scheduling_state.clone()),
            "CREATED" => GroupState::Created,
            "RESCHEDULING" => GroupState::Rescheduling,
            "REMOVED" => GroupState::Removed,
            other => GroupState::Unknown(other.to_owned()),
        }
    }

    /// Its bundles in the form that `verify` compares.
    pub fn reported(&self) -> Vec<ReportedBundle> {
        self.bundles
            .iter()
            .map(|b| ReportedBundle { index: b.bundle_id.bundle_index, node_id: b.node_id.clone() })
            .collect()
    }
}
