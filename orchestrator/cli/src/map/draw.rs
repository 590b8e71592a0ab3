//! From facts to a picture. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use ray_bridge::placement::Level;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_cli_kit::ranges::ranges;
use rayfleet_core::capacity::{NodeRoom, closing};

use super::facts::{self, Facts, NodeFact, PodFact};
use super::picture::{Domain, Group, Host, Link, NodeState, Picture, Rank, Stage};

/// Most ranks that are looked for among those that are placed.
const MOST: u32 = 65_536;
/// Label that NVIDIA's GPU feature discovery sets on the nodes of one `NVLink` domain over several nodes.
const CLIQUE: &str = "nvidia.com/gpu.clique";

/// The groups that are wanted: one, or all.
pub(super) fn picture(facts: &Facts, only: Option<&str>) -> Picture {
    let fleet = &facts.fleet;
    let levels = levels(facts);
    let groups = fleet.status.iter().flat_map(|status| &status.groups);
    let wanted = groups.filter(|group| only.is_none_or(|only| group.name == *only));
    Picture {
        namespace: fleet.namespace().unwrap_or_default(),
        fleet: fleet.name_any(),
        model: fleet.spec.model.as_ref().map(|model| model.name.clone()),
        groups: wanted.map(|group| Drawing { facts, levels: &levels, group }.group()).collect(),
        unknown: unknown(facts),
    }
}

/// What was not read, each reason once.
fn unknown(facts: &Facts) -> Vec<String> {
    let pods = facts.pods.as_ref().err().map(|why| format!("pods: {why}"));
    let nodes: BTreeSet<&String> = facts
        .nodes
        .values()
        .filter_map(|node| match node {
            NodeFact::Unknown(why) => Some(why),
            NodeFact::Here(_) | NodeFact::Gone => None,
        })
        .collect();
    pods.into_iter().chain(nodes.into_iter().map(|why| format!("nodes: {why}"))).collect()
}

/// The levels that the fleet's placement follows, or the well-known ones; beside them rack and region by labels that are only shown.
fn levels(facts: &Facts) -> Vec<Level> {
    let placement = facts.fleet.spec.model.as_ref().and_then(|model| model.placement.as_ref());
    let own = placement.map(|placement| placement.topology.as_slice()).unwrap_or_default();
    if !own.is_empty() {
        return own.iter().map(|label| Level::of(label)).collect();
    }
    let mut levels = Level::well_known();
    if let Some(rack) = levels.iter_mut().find(|level| level.name == "rack") {
        rack.labels.push("topology.kubernetes.io/rack".to_owned());
    }
    levels
        .push(Level { name: "region".to_owned(), labels: vec!["topology.kubernetes.io/region".to_owned()] });
    levels
}

struct Drawing<'a> {
    facts: &'a Facts,
    levels: &'a [Level],
    group: &'a GroupStatus,
}

impl Drawing<'_> {
    fn group(&self) -> Group {
        let placement = &self.group.placement;
        let numbers: BTreeSet<(Option<u32>, u32)> =
            placement.iter().map(|rank| (rank.data, rank.stage)).collect();
        let is_pipeline = numbers.iter().any(|(_, number)| *number > 0);
        let stages: Vec<Stage> = numbers
            .into_iter()
            .map(|(data, number)| {
                let mut nodes: BTreeMap<&str, Vec<(u32, u32)>> = BTreeMap::new();
                for rank in placement.iter().filter(|rank| (rank.data, rank.stage) == (data, number)) {
                    nodes.entry(rank.node.as_str()).or_default().push((rank.rank, rank.tensor));
                }
                let name = match data {
                    None => format!("stage {number}"),
                    Some(data) if !is_pipeline => format!("DP {data}"),
                    Some(data) => format!("DP {data} stage {number}"),
                };
                Stage { data, number, name, hosts: in_order(nodes, |node, ranks| self.host(node, ranks)) }
            })
            .collect();
        let used: BTreeSet<&str> = placement.iter().map(|rank| rank.node.as_str()).collect();
        let others: BTreeSet<&str> = self.pods().filter_map(|pod| pod.node.as_deref()).collect();
        let idle = others.difference(&used).map(|node| self.host(node, Vec::new()));
        let model = self.facts.fleet.spec.model.as_ref();
        let of_spec = model.map(|model| &model.parallelism);
        let size = |last: Option<u32>, spec: Option<u32>| last.map(|last| last.saturating_add(1)).or(spec);
        let mut group = Group {
            name: self.group.name.to_string(),
            phase: self.group.phase.to_string(),
            tensor: size(placement.iter().map(|rank| rank.tensor).max(), of_spec.map(|of| of.tensor)),
            pipeline: size(placement.iter().map(|rank| rank.stage).max(), of_spec.map(|of| of.pipeline)),
            data: size(
                placement.iter().filter_map(|rank| rank.data).max(),
                of_spec.and_then(|of| of.data).filter(|data| *data != 1),
            ),
            ranks: self.group.ranks.map(|ranks| ranks.to_string()),
            links: stages.windows(2).filter_map(|pair| self.link(pair.first()?, pair.last()?)).collect(),
            stages,
            without_ranks: idle.collect(),
            troubles: Vec::new(),
        };
        group.troubles = self.troubles(&group);
        group
    }

    fn pods(&self) -> impl Iterator<Item = &PodFact> {
        let pods = self.facts.pods.as_deref().unwrap_or_default();
        pods.iter().filter(|pod| self.group.name == pod.group)
    }

    fn room(&self, node: &str) -> Option<&NodeRoom> {
        match self.facts.nodes.get(node)? {
            NodeFact::Here(room) => Some(room),
            NodeFact::Gone | NodeFact::Unknown(_) => None,
        }
    }

    fn host(&self, node: &str, ranks: Vec<(u32, u32)>) -> Host {
        let (state, says) = state(self.facts.nodes.get(node));
        let room = self.room(node);
        let pods: Vec<&PodFact> = self.pods().filter(|pod| pod.node.as_deref() == Some(node)).collect();
        let has_pod = self.facts.pods.is_err() || pods.iter().any(|pod| pod.is_up);
        let is_lost = state.is_down() || !has_pod;
        let levels = self.levels.iter().filter_map(|level| {
            let value = domain(room?, level)?;
            Some(Domain { level: level.name.clone(), value: value.to_owned() })
        });
        Host {
            node: node.to_owned(),
            state,
            says,
            domains: levels.collect(),
            gpus: room.and_then(facts::gpus),
            gpu_model: room.and_then(facts::product).map(str::to_owned),
            group_gpus: pods.iter().fold(0, |sum, pod| sum.saturating_add(pod.gpus)),
            has_head: pods.iter().any(|pod| pod.is_head),
            pods: pods.into_iter().map(|pod| pod.name.clone()).collect(),
            ranks: ranks.into_iter().map(|(number, tensor)| Rank { number, tensor, is_lost }).collect(),
            link: room.map_or("unknown", inside),
        }
    }

    fn link(&self, from: &Stage, to: &Stage) -> Option<Link> {
        let nodes: BTreeSet<&str> =
            from.hosts.iter().chain(&to.hosts).map(|host| host.node.as_str()).collect();
        let is_network = nodes.len() > 1;
        let rooms: Option<Vec<&NodeRoom>> = nodes.iter().map(|node| self.room(node)).collect();
        let (within, crosses) = match rooms.filter(|_| is_network) {
            Some(rooms) => self.common(&rooms),
            None => (None, None),
        };
        let data = from.data.zip(to.data);
        (!nodes.is_empty()).then_some(Link {
            from: from.number,
            to: to.number,
            data,
            is_network,
            within,
            crosses,
        })
    }

    /// The innermost domain that all nodes are in, or else the outermost level on which they differ. A domain is one only within
    /// the same outer ones: racks of one name in two zones are two.
    fn common(&self, rooms: &[&NodeRoom]) -> (Option<Domain>, Option<String>) {
        let mut within = None;
        for level in self.levels.iter().rev() {
            let values: BTreeSet<Option<&str>> = rooms.iter().map(|room| domain(room, level)).collect();
            let named = values.iter().flatten().count();
            if named > 1 {
                let crosses = within.is_none().then(|| level.name.clone());
                return (within, crosses);
            }
            if let (1, Some(Some(value))) = (values.len(), values.first()) {
                within = Some(Domain { level: level.name.clone(), value: (*value).to_owned() });
            }
        }
        (within, None)
    }

    fn troubles(&self, group: &Group) -> Vec<String> {
        let mut troubles = self.group.misplaced.clone();
        let placed: BTreeSet<u32> = self.group.placement.iter().map(|rank| rank.rank).collect();
        if let Some(count) = self.group.ranks {
            let missing: Vec<u32> =
                (0..count.total.min(MOST)).filter(|rank| !placed.contains(rank)).collect();
            match missing.as_slice() {
                [] if !count.is_whole() => {
                    troubles.push(format!("only {} of {} ranks are as planned", count.placed, count.total));
                }
                [] => {}
                missing => troubles.push(format!("no place is known of ranks {}", ranges(missing.to_vec()))),
            }
        } else if group.stages.is_empty() && self.group.phase == Phase::Ready {
            let why = "the template starts the engine, so its ranks are not known";
            troubles.extend(self.facts.fleet.spec.model.is_none().then(|| why.to_owned()));
        }
        let hosts: Vec<&Host> =
            group.stages.iter().flat_map(|stage| &stage.hosts).chain(&group.without_ranks).collect();
        let mut seen = BTreeSet::new();
        for host in &hosts {
            let is_new = seen.insert(&host.node);
            if is_new && !host.says.is_empty() {
                troubles.push(format!("node {} {}", host.node, host.says));
            } else if is_new && host.ranks.iter().any(|rank| rank.is_lost) {
                troubles.push(format!(
                    "node {} has ranks by the status, but no pod of the group runs there",
                    host.node
                ));
            }
        }
        for stage in group.stages.iter().filter(|stage| stage.hosts.len() > 1) {
            let rooms: Option<Vec<&NodeRoom>> =
                stage.hosts.iter().map(|host| self.room(&host.node)).collect();
            let fabric = rooms.and_then(|rooms| self.common(&rooms).0).filter(|it| it.level == "fabric");
            if fabric.is_none() {
                let (name, count) = (&stage.name, stage.hosts.len());
                troubles.push(format!(
                    "tensor ranks of {name} are on {count} nodes: every layer crosses the network"
                ));
            }
        }
        troubles
    }
}

/// Hosts by their first rank.
fn in_order<'n>(
    nodes: BTreeMap<&'n str, Vec<(u32, u32)>>,
    host: impl Fn(&'n str, Vec<(u32, u32)>) -> Host,
) -> Vec<Host> {
    let mut hosts: Vec<Host> = nodes
        .into_iter()
        .map(|(node, mut ranks)| {
            ranks.sort_unstable();
            host(node, ranks)
        })
        .collect();
    hosts.sort_by_key(|host| host.ranks.first().map(|rank| rank.number));
    hosts
}

fn state(node: Option<&NodeFact>) -> (NodeState, String) {
    match node {
        None | Some(NodeFact::Unknown(_)) => (NodeState::Unknown, String::new()),
        Some(NodeFact::Gone) => (NodeState::Gone, "is gone".to_owned()),
        Some(NodeFact::Here(room)) => match closing(room) {
            _ if !room.ready => (NodeState::NotReady, "is not ready".to_owned()),
            Some(closing) => (NodeState::Leaving, closing.what),
            None => (NodeState::Ready, String::new()),
        },
    }
}

fn domain<'n>(room: &'n NodeRoom, level: &Level) -> Option<&'n str> {
    let mut values = level.labels.iter().filter_map(|label| room.labels.get(label));
    values.next().map(String::as_str).filter(|value| !value.is_empty())
}

/// What links the GPUs of a node, as far as its labels say it. Of GPUs that come on boards of both kinds they do not.
fn inside(room: &NodeRoom) -> &'static str {
    let has_sxm = facts::product(room).is_some_and(|product| product.contains("SXM"));
    if has_sxm || room.labels.get(CLIQUE).is_some_and(|clique| !clique.is_empty()) {
        "NVLink"
    } else {
        "unknown"
    }
}
