//! The state API: one shape of reply for nodes, actors and placement groups.

use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::wire;
use crate::NodeId;
use crate::placement::{
    ForeignActor, GroupState, Life, RANK_ACTOR_CLASS, RankName, ReportedBundle, ReportedRank,
};

/// Ray gives at most this many entries.
const LIMIT: usize = 10_000;

/// `key = value`.
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
    #[serde(default, deserialize_with = "wire::or_default")]
    pub class_name: String,
    /// Name, empty if it has none.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub name: String,
    /// `DEPENDENCIES_UNREADY`, `PENDING_CREATION`, `ALIVE`, `RESTARTING` or `DEAD`.
    pub state: String,
    /// Node, `None` while it has none.
    #[serde(default, deserialize_with = "wire::non_empty")]
    pub node_id: Option<NodeId>,
    /// Placement group it runs in.
    #[serde(default, deserialize_with = "wire::non_empty")]
    pub placement_group_id: Option<String>,
    /// Restarts so far; Ray writes it as a string.
    #[serde(default, deserialize_with = "wire::count")]
    pub num_restarts: u64,
    #[serde(default)]
    death_cause: Option<Value>,
    #[serde(default)]
    required_resources: Option<Value>,
}

/// A placement group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlacementGroup {
    /// Id.
    pub placement_group_id: String,
    /// Name.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub name: String,
    state: String,
    /// Bundles by index.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub bundles: Vec<Bundle>,
    #[serde(default, deserialize_with = "wire::or_default")]
    stats: Stats,
}

/// One bundle of a placement group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bundle {
    bundle_id: BundleId,
    /// Node, `None` while it has none.
    #[serde(default, deserialize_with = "wire::non_empty")]
    pub node_id: Option<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct BundleId {
    bundle_index: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Stats {
    #[serde(default, deserialize_with = "wire::or_default")]
    scheduling_state: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reply<T> {
    result: bool,
    #[serde(default, deserialize_with = "wire::or_default")]
    msg: String,
    data: Option<Data<T>>,
}

#[derive(Debug, Deserialize)]
struct Data<T> {
    result: Option<Entries<T>>,
}

#[derive(Debug, Deserialize)]
struct Entries<T> {
    #[serde(default)]
    num_filtered: usize,
    result: Vec<T>,
    #[serde(default, deserialize_with = "wire::or_default")]
    partial_failure_warning: String,
}

impl<T> Reply<T> {
    /// The entries, all of them.
    pub(super) fn into_entries(self) -> Result<Vec<T>, String> {
        let entries = self.data.and_then(|d| d.result).filter(|_| self.result);
        let Some(entries) = entries else {
            return Err(format!("no result: {}", self.msg));
        };
        if entries.num_filtered > entries.result.len() {
            return Err(format!("{} of {} entries", entries.result.len(), entries.num_filtered));
        }
        if !entries.partial_failure_warning.is_empty() {
            tracing::warn!(warning = entries.partial_failure_warning, "Ray lists only a part");
        }
        Ok(entries.result)
    }
}

/// Path of a list, with the filters escaped.
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
    /// As a rank, if it is one.
    pub fn rank(&self) -> Option<ReportedRank> {
        let name = RankName::parse(&self.name).filter(|_| self.class_name == RANK_ACTOR_CLASS)?;
        let life = match self.state.as_str() {
            "ALIVE" => Life::Alive,
            "DEAD" => Life::Dead(self.death()),
            _ => Life::Starting,
        };
        Some(ReportedRank { name, node_id: self.node_id.clone(), life })
    }

    /// As a stranger in an engine's placement group: a living actor that is no rank and yet holds the GPU of a bundle.
    pub fn foreign(&self) -> Option<ForeignActor> {
        let bundle = self.gpu_bundle().filter(|_| self.rank().is_none() && self.state == "ALIVE")?;
        let name = if self.name.is_empty() { &self.class_name } else { &self.name };
        Some(ForeignActor { name: name.clone(), bundle, node_id: self.node_id.clone() })
    }

    /// The bundle whose GPU it holds: in a placement group Ray calls that `GPU_group_<bundle>_<placement group>`.
    fn gpu_bundle(&self) -> Option<u32> {
        let resources = self.required_resources.as_ref()?.as_object()?;
        resources
            .iter()
            .filter(|(_, amount)| amount.as_f64().is_some_and(|amount| amount > 0.0))
            .find_map(|(name, _)| name.strip_prefix("GPU_group_")?.split_once('_')?.0.parse().ok())
    }

    /// Ray's words for its death: `{"actor_died_error_context": {"error_message": …}}` or another context.
    pub(crate) fn death(&self) -> String {
        let contexts = self.death_cause.as_ref().and_then(Value::as_object);
        let text = contexts
            .into_iter()
            .flat_map(serde_json::Map::values)
            .find_map(|context| context.get("error_message")?.as_str())
            .unwrap_or("Ray gives no cause");
        // Behind the point stands a lecture that fits every death.
        let point = text.split("Some common causes include").next().unwrap_or_default();
        point.lines().next().unwrap_or_default().trim_end().chars().take(300).collect()
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

    /// Its bundles, as verification wants them.
    pub fn reported(&self) -> Vec<ReportedBundle> {
        self.bundles
            .iter()
            .map(|b| ReportedBundle { index: b.bundle_id.bundle_index, node_id: b.node_id.clone() })
            .collect()
    }
}
