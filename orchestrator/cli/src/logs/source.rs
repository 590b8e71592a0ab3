//! Which logs are wanted, out of what a fleet has; and how many of them at a time. No call here.

use std::collections::BTreeSet;

use rayfleet_api::LaunchId;
use rayfleet_cli_kit::ranges::ranges;

use super::args::{LogsArgs, Ranks};
use super::facts::{Pod, World};

/// One log. Its order is that in which logs are read if there are too many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The log of an engine's job, by its launch: launcher, API server, engine core and, through Ray, ranks.
    Engine { group: String, launch: LaunchId },
    /// What a rank wrote itself.
    Rank { group: String, launch: LaunchId, rank: u32 },
    /// A container of a pod of a group.
    Container { group: String, pod: String, container: String },
    /// A container of KubeRay's operator.
    Operator { namespace: String, pod: String, container: String },
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    group: Option<String>,
    ranks: Option<Ranks>,
    engine: bool,
    container: Option<String>,
    everything: bool,
    previous: bool,
}

impl Selection {
    pub(super) fn of(args: &LogsArgs) -> Self {
        let engine = args.engine || args.launcher;
        Self {
            group: args.group.clone(),
            ranks: args.rank.clone(),
            engine,
            container: args.container.clone(),
            everything: !engine && args.rank.is_none() && args.container.is_none() && !args.kuberay,
            previous: args.previous,
        }
    }

    /// The logs of a fleet that are wanted.
    pub(super) fn sources(&self, world: &World) -> BTreeSet<Source> {
        let mut sources = BTreeSet::new();
        for (name, group) in world.groups.iter().filter(|(name, _)| self.wants(name)) {
            let Some(launch) = group.launch.clone().and_then(|launch| self.launch(launch)) else { continue };
            if self.everything || self.engine {
                sources.insert(Source::Engine { group: name.clone(), launch: launch.clone() });
            }
            for rank in self.ranks.iter().flat_map(|ranks| ranks.iter()) {
                // Before it is placed nothing says how many there are; then every one that was asked for is tried.
                if group.ranks.is_empty() || group.ranks.values().any(|there| there.contains(rank)) {
                    sources.insert(Source::Rank { group: name.clone(), launch: launch.clone(), rank: *rank });
                }
            }
        }
        for (name, pod) in world.pods.iter().filter(|(_, pod)| self.wants(&pod.group)) {
            let wanted =
                pod.containers.iter().filter(|container| self.wants_container(world, pod, &container.name));
            for container in wanted.filter(|container| !self.previous || container.restarts > 0) {
                sources.insert(Source::Container {
                    group: pod.group.clone(),
                    pod: name.clone(),
                    container: container.name.clone(),
                });
            }
        }
        sources
    }

    pub(super) fn wants(&self, group: &str) -> bool {
        self.group.as_deref().is_none_or(|wanted| wanted == group)
    }

    fn launch(&self, launch: LaunchId) -> Option<LaunchId> {
        if !self.previous {
            return Some(launch);
        }
        let number = launch.number.checked_sub(1).filter(|number| *number > 0)?;
        Some(LaunchId { number, ..launch })
    }

    fn wants_container(&self, world: &World, pod: &Pod, container: &str) -> bool {
        let launched = world.groups.get(&pod.group).is_some_and(|group| group.has_engine);
        // An engine that the template starts writes to the head's containers.
        self.everything
            || self.container.as_deref() == Some(container)
            || (self.engine && pod.head && !launched)
    }
}

/// Who writes a log: what stands in front of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// Group, or where KubeRay's operator runs.
    pub(super) group: String,
    /// Within the group.
    pub(super) who: String,
    pub(super) pod: Option<String>,
    pub(super) container: Option<String>,
    pub(super) rank: Option<u32>,
}

impl Source {
    /// What stands in front of its lines.
    pub(super) fn label(&self, world: &World) -> Label {
        let label = |group: &str, who: String| Label {
            group: group.to_owned(),
            who,
            pod: None,
            container: None,
            rank: None,
        };
        match self {
            Self::Engine { group, .. } => label(group, "engine".to_owned()),
            Self::Rank { group, rank, .. } => {
                Label { rank: Some(*rank), ..label(group, format!("rank {rank}")) }
            }
            Self::Container { group, pod: name, container } => {
                let who =
                    world.pods.get(name).map_or_else(|| name.clone(), |pod| who(world, name, pod, container));
                Label { pod: Some(name.clone()), container: Some(container.clone()), ..label(group, who) }
            }
            Self::Operator { namespace, pod, container } => Label {
                pod: Some(pod.clone()),
                container: Some(container.clone()),
                ..label(namespace, "kuberay".to_owned())
            },
        }
    }

    /// As it is named to people who miss it.
    pub(super) fn named(&self) -> String {
        match self {
            Self::Engine { launch, .. } => format!("engine {launch}"),
            Self::Rank { group, rank, .. } => format!("rank {rank} of {group}"),
            Self::Container { pod, container, .. } | Self::Operator { pod, container, .. } => {
                format!("container {container} of pod {pod}")
            }
        }
    }
}

/// A pod within its group: `head`, or `worker-` and the end of its name; the container, unless it is Ray's alone; the ranks in it.
fn who(world: &World, name: &str, pod: &Pod, container: &str) -> String {
    let end = name.rsplit_once('-').map_or(name, |(_, end)| end);
    let mut who = if pod.head { "head".to_owned() } else { format!("worker-{end}") };
    if pod.containers.last().is_none_or(|last| last.name != container || pod.containers.len() > 2) {
        who = format!("{who}/{container}");
    } else if let Some(ranks) = world.ranks_of(pod) {
        who = format!("{who} {}", ranges(ranks.iter().copied()));
    }
    who
}

/// Takes so many sources; those that are read already stay. What is left out is named.
pub(super) fn within(
    limit: usize,
    wanted: BTreeSet<Source>,
    read: &BTreeSet<Source>,
) -> (BTreeSet<Source>, Vec<String>) {
    let (stay, new): (BTreeSet<_>, BTreeSet<_>) =
        wanted.into_iter().partition(|source| read.contains(source));
    let room = limit.saturating_sub(stay.len());
    let left = new.iter().skip(room).map(Source::named).collect();
    (stay.into_iter().chain(new.into_iter().take(room)).collect(), left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::args::tests::parse;
    use crate::logs::facts::tests::pod;
    use crate::sample;

    fn world() -> World {
        let mut fleet = sample::upgrading_fleet();
        for group in &mut fleet.groups {
            group.launch = 2;
        }
        let mut world = World { groups: World::groups(&fleet), ..World::default() };
        for (group, role, node) in [
            ("llama-bcdfgh-0", "head", "node-a"),
            ("llama-bcdfgh-0", "worker", "node-b"),
            ("llama-bcdfgh-1", "head", "node-c"),
        ] {
            let object = pod(group, role, node);
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            world.pods.insert(name, Pod::read(&object).unwrap());
        }
        world
    }

    fn labels(line: &str, world: &World) -> Vec<String> {
        let sources = Selection::of(&parse(line).unwrap()).sources(world);
        sources
            .iter()
            .map(|source| source.label(world))
            .map(|it| format!("{}/{}", it.group, it.who))
            .collect()
    }

    #[test]
    fn without_a_choice_engines_come_before_pods() {
        assert_eq!(
            labels("llama", &world()),
            [
                "llama-bcdfgh-0/engine",
                "llama-bcdfgh-1/engine",
                "llama-bcdfgh-0/head 0",
                "llama-bcdfgh-0/worker-x2b4f 1",
                "llama-bcdfgh-1/head 0"
            ]
        );
    }

    #[test]
    fn a_choice_leaves_the_others_out() {
        let world = world();
        assert_eq!(
            labels("llama llama-bcdfgh-1 --rank 1,5 --engine", &world),
            ["llama-bcdfgh-1/engine", "llama-bcdfgh-1/rank 1"]
        );
        assert_eq!(labels("llama --container ray", &world).len(), 3);
        assert_eq!(labels("llama --container other", &world), Vec::<String>::new());
        assert_eq!(labels("llama --kuberay", &world), Vec::<String>::new());
        assert_eq!(labels("llama --launcher", &world).len(), 2);
    }

    #[test]
    fn an_engine_of_the_template_is_in_the_head() {
        let mut world = world();
        for group in world.groups.values_mut() {
            (group.launch, group.has_engine) = (None, false);
        }
        assert_eq!(labels("llama --engine", &world), ["llama-bcdfgh-0/head 0", "llama-bcdfgh-1/head 0"]);
        for group in world.groups.values_mut() {
            group.has_engine = true;
        }
        assert_eq!(labels("llama --engine", &world), Vec::<String>::new(), "it is not launched yet");
    }

    #[test]
    fn the_one_before_is_the_launch_before_and_the_container_that_ended() {
        let mut world = world();
        let previous = |world: &World| Selection::of(&parse("llama --previous").unwrap()).sources(world);
        let launches: Vec<String> = previous(&world).iter().map(Source::named).collect();
        assert_eq!(launches, ["engine llama-bcdfgh-0.zxwvtr.1", "engine llama-bcdfgh-1.kmnpqr.1"]);
        world.pods.values_mut().next().unwrap().containers[0].restarts = 1;
        assert_eq!(previous(&world).len(), 3);
        for group in world.groups.values_mut() {
            group.launch.as_mut().unwrap().number = 1;
        }
        assert_eq!(previous(&world).len(), 1, "the first launch has none before it");
    }

    #[test]
    fn what_is_read_stays_and_what_is_too_much_is_named() {
        let world = world();
        let all = Selection::of(&parse("llama").unwrap()).sources(&world);
        let (first, left) = within(4, all.clone(), &BTreeSet::new());
        assert_eq!(
            (first.len(), left.as_slice()),
            (4, &["container ray of pod llama-bcdfgh-1-head-x2b4f".to_owned()][..])
        );
        let last = BTreeSet::from([all.last().unwrap().clone()]);
        let (second, left) = within(1, all.clone(), &last);
        assert_eq!((second, left.len()), (last, 4));
        assert_eq!(within(9, all.clone(), &BTreeSet::new()), (all, vec![]));
    }

    #[test]
    fn a_container_beside_ray_s_is_named() {
        let mut world = world();
        let name = "llama-bcdfgh-0-worker-x2b4f";
        let mut init = world.pods[name].containers[0].clone();
        "wait".clone_into(&mut init.name);
        world.pods.get_mut(name).unwrap().containers.insert(0, init);
        assert_eq!(
            labels("llama llama-bcdfgh-0 --container wait", &world),
            ["llama-bcdfgh-0/worker-x2b4f/wait"]
        );
    }
}
