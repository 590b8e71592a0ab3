//! Placement groups: asked for by a launcher, placed where its bundles are pinned as soon as there is room, and given up.

use std::time::Duration;

use super::gcs::{Bundle, Group, GroupState};
use super::ids::{JobKey, job_hex};
use super::spec::Spec;
use super::world::World;

/// The launcher's exit code if its ranks cannot be placed.
const EXIT_PLACEMENT: i32 = 3;
/// Between the launcher's looks at a group that is not placed.
const LOOK: Duration = Duration::from_secs(1);
/// From a placement group's request to its placement.
const RESERVE: Duration = Duration::from_millis(20);

impl World {
    /// The launcher asks for its placement group.
    pub(super) fn reserve(&mut self, key: JobKey) {
        let now = self.now;
        let Some(spec) = self.launching(&key).map(|launch| launch.spec.clone()) else { return };
        if let Some(gone) = self.gone(&key, &spec) {
            return self.give_up(&key, &gone, EXIT_PLACEMENT, None);
        }
        let id = format!("{}{}", self.ids.hex(28), job_hex(key.serial));
        let mut bundles: Vec<Bundle> = spec
            .bundles
            .iter()
            .map(|planned| Bundle { gpus: 1, pin: planned.node_id.clone(), node: None })
            .collect();
        if spec.bundles.iter().all(|planned| planned.node_id != spec.api_server_node_id) {
            bundles.push(Bundle { gpus: 0, pin: spec.api_server_node_id.clone(), node: None });
        }
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        gcs.groups.push(Group {
            id: id.clone(),
            name: spec.name.clone(),
            job: key.serial,
            state: GroupState::Pending,
            scheduling: "QUEUED",
            bundles,
            began: now,
        });
        if let Some(launch) = self.launching(&key) {
            launch.group = Some(id);
        }
        let timeout = Duration::try_from_secs_f64(spec.placement_timeout_seconds).unwrap_or(LOOK);
        let waiting = key.clone();
        self.after(timeout, move |world| world.not_placed(&waiting));
        self.after(LOOK, {
            let key = key.clone();
            move |world| world.wait_for_place(key)
        });
        self.after(RESERVE, move |world| world.schedule(&key.cluster));
    }

    /// The launcher looks whether a planned node is gone while its group waits.
    fn wait_for_place(&mut self, key: JobKey) {
        let Some(spec) = self.launching(&key).filter(|l| l.phase == "PlacementGroup").map(|l| l.spec.clone())
        else {
            return;
        };
        match self.gone(&key, &spec) {
            Some(gone) => self.give_up(&key, &gone, EXIT_PLACEMENT, None),
            None => self.after(LOOK, move |world| world.wait_for_place(key)),
        }
    }

    fn gone(&mut self, key: &JobKey, spec: &Spec) -> Option<String> {
        let gcs = self.gcs(&key.cluster, key.life)?;
        let mut lost: Vec<&str> = Vec::new();
        for node in spec.nodes() {
            if !gcs.lives(node) && !lost.contains(&node.as_str()) {
                lost.push(node);
            }
        }
        let lost = lost.join(", ");
        (!lost.is_empty())
            .then(|| format!("planned nodes are not alive in Ray: {lost}; plan again on the nodes that are"))
    }

    fn not_placed(&mut self, key: &JobKey) {
        let Some(launch) = self.launching(key).filter(|l| l.phase == "PlacementGroup") else { return };
        let (spec, id) = (launch.spec.clone(), launch.group.clone().unwrap_or_default());
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        let mut faults = Vec::new();
        let mut seen: Vec<&String> = Vec::new();
        for node in spec.nodes() {
            if seen.contains(&node) {
                continue;
            }
            seen.push(node);
            let wanted = spec.bundles.iter().filter(|planned| planned.node_id == *node).count();
            let (total, used) = (gcs.nodes.get(node).map_or(0, |n| n.gpus), gcs.reserved(node));
            let left = total.saturating_sub(used);
            if (left as usize) < wanted {
                let (short, ip) = (node.chars().take(12).collect::<String>(), gcs.ip_of(Some(node)));
                faults.push(format!("node {short} ({ip}) has {left} of {total} GPUs free, {wanted} needed"));
            }
        }
        let state = gcs.group_of(&id).map_or("UNKNOWN", |group| group.scheduling);
        let faults =
            if faults.is_empty() { "no single node lacks GPUs now".to_owned() } else { faults.join("; ") };
        let message = format!(
            "{} ranks were not placed within {} s (PENDING, {state}): {faults}",
            spec.bundles.len(),
            spec.placement_timeout_seconds
        );
        self.give_up(key, &message, EXIT_PLACEMENT, None);
    }

    /// GPUs were taken or given back, or nodes came or went.
    pub(super) fn resources_changed(&mut self, cluster: &str) {
        let now = self.now;
        if let Some(gcs) = self.heads.get_mut(cluster) {
            gcs.account(now);
        }
        self.schedule(cluster);
    }

    /// Places the groups that have room now.
    pub(super) fn schedule(&mut self, cluster: &str) {
        let now = self.now;
        let Some(gcs) = self.heads.get_mut(cluster) else { return };
        let mut placed = Vec::new();
        for at in 0..gcs.groups.len() {
            let Some(group) = gcs.groups.get(at).filter(|group| group.state == GroupState::Pending) else {
                continue;
            };
            let wanted =
                |node: &str| group.bundles.iter().filter(|b| b.pin == node).map(|b| b.gpus).sum::<u32>();
            let total = |node: &str| gcs.nodes.get(node).map_or(0, |node| node.gpus);
            let possible = group.bundles.iter().all(|b| gcs.lives(&b.pin) && wanted(&b.pin) <= total(&b.pin));
            let fits = group.bundles.iter().all(|bundle| {
                let free = total(&bundle.pin).saturating_sub(gcs.reserved(&bundle.pin));
                gcs.answers(&bundle.pin) && wanted(&bundle.pin) <= free
            });
            let Some(group) = gcs.groups.get_mut(at) else { continue };
            if possible && fits {
                (group.state, group.scheduling) = (GroupState::Created, "FINISHED");
                for bundle in &mut group.bundles {
                    bundle.node = Some(bundle.pin.clone());
                }
                placed.push(JobKey { cluster: cluster.to_owned(), life: gcs.life, serial: group.job });
            } else {
                group.scheduling = if possible { "NO_RESOURCES" } else { "INFEASIBLE" };
            }
        }
        if !placed.is_empty() {
            gcs.account(now);
        }
        for key in placed {
            self.after(Duration::ZERO, move |world| world.placed(key));
        }
    }
}
