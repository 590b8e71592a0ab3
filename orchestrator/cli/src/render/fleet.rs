//! One fleet: headline, rollout, conditions that need attention, groups, ranks.

use jiff::Timestamp;
use rayfleet_api::status::RolloutStep;
use rayfleet_cli_kit::age;
use rayfleet_cli_kit::table::{Tone, one_line};

use super::{groups, ranks};
use crate::view::{Condition, Fleet, Rollout};

/// All parts.
pub(crate) fn picture(fleet: &Fleet, wide: bool, now: Timestamp, color: bool) -> String {
    let mut text = head(fleet, Some(now), color);
    if !fleet.groups.is_empty() {
        text.push('\n');
        text.push_str(&groups::table(&fleet.groups, wide, now).render(color));
    }
    if let Some(ranks) = ranks::table(&fleet.groups) {
        text.push('\n');
        text.push_str(&ranks.render(color));
    }
    text
}

/// The lines above the groups. Without `now` they contain nothing that changes with time.
pub(crate) fn head(fleet: &Fleet, now: Option<Timestamp>, color: bool) -> String {
    headline(fleet, color) + &rollout(fleet, now, color) + &attention(fleet, now, color)
}

/// Name, model, revision and numbers of groups.
fn headline(fleet: &Fleet, color: bool) -> String {
    let mut parts = vec![format!("{}/{}", fleet.namespace, fleet.name)];
    parts.extend(fleet.model.as_ref().map(|model| format!("model {}", one_line(model))));
    if let Some(rollout) = &fleet.rollout {
        parts.extend(revision(rollout));
    }
    let tone = if fleet.ready >= fleet.desired { Tone::Good } else { Tone::Busy };
    parts.push(tone.paint(&format!("{}/{} ready", fleet.ready, fleet.desired), color));
    parts.push(format!("{} updated", fleet.updated));
    parts.push(format!("{} available", fleet.available));
    if fleet.paused {
        parts.push(Tone::Busy.paint("paused", color));
    }
    if fleet.deleting {
        parts.push(Tone::Busy.paint("deleting", color));
    }
    parts.join("  ") + "\n"
}

fn revision(rollout: &Rollout) -> Option<String> {
    let to = rollout.to.as_ref().map(|to| one_line(&to.to_string()));
    match (rollout.number, to) {
        (Some(number), Some(to)) => Some(format!("revision {number} ({to})")),
        (Some(number), None) => Some(format!("revision {number}")),
        (None, to) => to.map(|to| format!("revision {to}")),
    }
}

/// The step of the rollout and its reason.
fn rollout(fleet: &Fleet, now: Option<Timestamp>, color: bool) -> String {
    let busy = |text: &str| format!("rollout: {}\n", Tone::Busy.paint(text, color));
    let Some(observed) = fleet.observed else {
        return busy(
            "no status yet; if this persists, check the orchestrator: kubectl get pods -A -l app.kubernetes.io/name=rayfleet",
        );
    };
    let stale = if fleet.observed_now() {
        String::new()
    } else {
        let wanted = fleet.generation;
        busy(&format!(
            "the orchestrator has not observed generation {wanted} yet (its status is of {observed})"
        ))
    };
    let Some(rollout) = &fleet.rollout else { return stale };
    let done = rollout.step == RolloutStep::Complete.as_str();
    let tone = if done { Tone::Good } else { Tone::Busy };
    let step = tone.paint(&one_line(&rollout.step), color);
    let mut parts = vec![match &rollout.reason {
        Some(reason) => format!("rollout: {step}: {}", one_line(reason)),
        None => format!("rollout: {step}"),
    }];
    if !done {
        let revisions = rollout.from.as_ref().zip(rollout.to.as_ref());
        parts.extend(revisions.map(|(from, to)| one_line(&format!("{from} -> {to}"))));
        let moved = rollout.last_progress.zip(now);
        parts.extend(
            moved.map(|(moved, now)| format!("(last progress {} ago)", age::since(Some(moved), now))),
        );
    }
    if rollout.lost_requests > 0 {
        let lost = format!("{} requests cut off by drain deadlines so far", rollout.lost_requests);
        parts.push(Tone::Bad.paint(&lost, color));
    }
    format!("{stale}{}\n", parts.join("  "))
}

/// A line for each condition that a person should look at.
fn attention(fleet: &Fleet, now: Option<Timestamp>, color: bool) -> String {
    let shown = fleet.conditions.iter().filter(|condition| condition.needs_attention());
    shown.map(|condition| warning(condition, now, color)).collect()
}

fn warning(condition: &Condition, now: Option<Timestamp>, color: bool) -> String {
    let name = match condition.status.as_str() {
        "False" => format!("not {}", one_line(&condition.kind)),
        _ => one_line(&condition.kind),
    };
    let age = now.filter(|_| condition.since.is_some()).map(|now| age::since(condition.since, now));
    let notes: Vec<String> =
        std::iter::once(one_line(&condition.reason)).chain(age).filter(|note| !note.is_empty()).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    let message = match one_line(&condition.message) {
        message if message.is_empty() => message,
        message => format!(": {message}"),
    };
    format!("! {}{notes}{message}\n", Tone::Bad.paint(&name, color))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    fn shown(fleet: &Fleet) -> String {
        picture(fleet, false, sample::now(), false)
    }

    #[test]
    fn a_fleet_during_an_upgrade() {
        insta::assert_snapshot!(shown(&sample::upgrading_fleet()));
    }

    #[test]
    fn a_complete_fleet() {
        insta::assert_snapshot!(shown(&sample::complete_fleet()));
    }

    #[test]
    fn a_stalled_fleet_with_an_unobserved_spec() {
        let mut fleet = sample::upgrading_fleet();
        fleet.generation = 5;
        fleet.paused = true;
        fleet.conditions = vec![
            Condition {
                kind: "Stalled".into(),
                status: "True".into(),
                since: Some("2026-03-01T12:00:00Z".parse().unwrap()),
                reason: "NoRoom".into(),
                message:
                    "no room for a surge group: set strategy.rollingUpdate.maxUnavailable: 1 or add nodes, \
                          or strategy.whenNoRoom: Pend to let a node autoscaler add them:\n\
                          needs 2 nodes x 8 nvidia.com/gpu; best free: 8 + 4"
                        .into(),
            },
            Condition { kind: "Available".into(), status: "False".into(), ..Condition::default() },
            Condition { kind: "Unheard".into(), status: "True".into(), ..Condition::default() },
        ];
        if let Some(rollout) = &mut fleet.rollout {
            rollout.lost_requests = 2;
        }
        insta::assert_snapshot!(shown(&fleet));
    }

    #[test]
    fn a_fleet_without_status() {
        let fleet = Fleet::read(&sample::object(&sample::spec("ray:1", &[]), &json!(null)));
        insta::assert_snapshot!(shown(&fleet));
    }

    #[test]
    fn colour_adds_only_escapes() {
        let fleet = sample::upgrading_fleet();
        let painted = picture(&fleet, false, sample::now(), true);
        assert!(painted.contains("\u{1b}["));
        let mut plain = String::new();
        let mut rest = painted.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, after)| after);
        }
        assert_eq!(plain + rest, shown(&fleet));
    }
}
