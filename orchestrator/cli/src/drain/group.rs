//! `drain GROUP`: asks for another group in place of one, and follows that.

use std::fmt::Write;
use std::time::Duration;

use rayfleet_api::names::ANNOTATION_REPLACE;
use rayfleet_api::status::RolloutStep;
use rayfleet_cli_kit::table::one_line;
use rayfleet_cli_kit::{CliError, Terminal};
use serde_json::json;

use super::steps::{Steps, timed_out};
use super::target::{GroupTarget, rayclusters};
use crate::error;
use crate::fleets::Fleets;
use crate::follow::{Follow, Scope};
use crate::view::Fleet;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting(String),
    Done(String),
}

pub(super) async fn run(
    target: &GroupTarget,
    timeout: Duration,
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let (name, fleet) = (&target.name, &target.fleet);
    let known = Fleet::read(&fleets.get(fleet).await?);
    if !known.groups.iter().any(|group| *group.name == **name) {
        return Err(CliError::failed(
            format!("fleet \"{fleet}\" does not have RayCluster \"{name}\" among its groups"),
            format!("see which it has: kubectl rayfleet status {}", fleets.named(fleet)),
        ));
    }
    let ask = json!({"metadata": {"annotations": {ANNOTATION_REPLACE: "true"}}});
    fleets
        .patch_at(&rayclusters(&fleets.namespace), name, &ask)
        .await
        .map_err(|fault| may_not(fault, fleets))?;
    terminal.print(&format!("group {name} of fleet {fleet} is to be replaced\n"))?;
    let mut steps = Steps::new(terminal);
    let wait = wait(target, fleets, &mut steps);
    if timeout == Duration::ZERO {
        return wait.await;
    }
    if let Ok(outcome) = tokio::time::timeout(timeout, wait).await {
        return outcome;
    }
    let namespace = &fleets.namespace;
    Err(timed_out(
        timeout,
        &steps,
        format!(
            "it goes on: kubectl rayfleet status {} -w; take it back: kubectl annotate raycluster {name} {ANNOTATION_REPLACE}- -n {namespace}",
            fleets.named(fleet)
        ),
    ))
}

/// Who may change fleets may not change RayClusters: the right is one of its own.
fn may_not(fault: CliError, fleets: &Fleets) -> CliError {
    if !(fault.message.contains("rayclusters") && fault.message.contains("forbidden")) {
        return fault;
    }
    let namespace = &fleets.namespace;
    CliError::failed(
        fault.message,
        format!(
            "you need the right to patch rayclusters.ray.io, which rayfleet-edit and the role edit do not give; ask for it: kubectl -n \
             {namespace} create role rayfleet-drain --verb=patch --resource=rayclusters.ray.io; kubectl -n {namespace} create \
             rolebinding rayfleet-drain --role=rayfleet-drain --user=YOU"
        ),
    )
}

async fn wait(target: &GroupTarget, fleets: &Fleets, steps: &mut Steps<'_>) -> Result<(), CliError> {
    let mut follow = Follow::new(fleets, Scope::One(&target.fleet));
    loop {
        let Some(object) = follow.next().await?.values().next() else {
            return Err(error::gone(&target.fleet, &fleets.namespace, true));
        };
        match state(&Fleet::read(object), &target.name) {
            State::Waiting(line) => steps.step(&line)?,
            State::Done(line) => return steps.done(&line),
        }
    }
}

/// It is done once the group is gone and as many serve as are wanted.
fn state(fleet: &Fleet, name: &str) -> State {
    let available = format!("{} of {} groups available", fleet.available, fleet.desired);
    let mut line = match fleet.groups.iter().find(|group| *group.name == *name) {
        None if fleet.available >= fleet.desired => {
            return State::Done(format!("group {name} was replaced: {available}"));
        }
        None => format!("group {name} is gone; {available}"),
        Some(group) => {
            let message = group.message.as_deref().map(|message| format!(", {}", one_line(message)));
            format!("group {name} is {}{}; {available}", one_line(&group.phase), message.unwrap_or_default())
        }
    };
    if let Some(rollout) = fleet.rollout.as_ref().filter(|it| it.step != RolloutStep::Complete.as_str()) {
        let parts = std::iter::once(&rollout.step).chain(&rollout.reason).map(|text| one_line(text));
        let _ = write!(line, "\n  {}", parts.collect::<Vec<_>>().join(": "));
    }
    if let Some(stalled) = fleet.condition("Stalled").filter(|condition| condition.needs_attention()) {
        let (reason, message) = (one_line(&stalled.reason), one_line(&stalled.message));
        let _ = write!(line, "\n  ! Stalled ({reason}): {message}");
    }
    State::Waiting(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::view::Condition;

    const GROUP: &str = "llama-bcdfgh-1";

    #[test]
    fn a_group_is_replaced_once_it_is_gone_and_all_serve() {
        let mut fleet = sample::complete_fleet();
        assert!(matches!(state(&fleet, GROUP), State::Waiting(_)));
        fleet.groups.pop();
        fleet.available = 1;
        assert_eq!(
            state(&fleet, GROUP),
            State::Waiting(format!("group {GROUP} is gone; 1 of 2 groups available"))
        );
        fleet.available = 2;
        assert_eq!(
            state(&fleet, GROUP),
            State::Done(format!("group {GROUP} was replaced: 2 of 2 groups available"))
        );
    }

    #[tokio::test]
    async fn a_missing_right_is_named_with_the_role_that_gives_it() {
        let server = crate::simulated::Simulated::with([]);
        let words = "rayclusters.ray.io \"llama-bcdfgh-1\" is forbidden: User \"jane\" cannot patch resource \"rayclusters\"";
        let fault = may_not(CliError::failed(words, "see what you may do"), &server.fleets());
        assert_eq!(fault.message, words);
        assert!(fault.cure.unwrap().contains("-n serving create role rayfleet-drain --verb=patch"));
        let other = CliError::failed("no answer", "wait");
        assert_eq!(may_not(other, &server.fleets()), CliError::failed("no answer", "wait"));
    }

    #[test]
    fn what_it_waits_for_is_said_in_the_fleets_words() {
        let mut fleet = sample::upgrading_fleet();
        fleet.conditions = vec![Condition {
            kind: "Stalled".into(),
            status: "True".into(),
            reason: "NoRoom".into(),
            message: "no room for a surge group:\nadd nodes".into(),
            since: None,
        }];
        let State::Waiting(line) = state(&fleet, GROUP) else { panic!("not waiting") };
        insta::assert_snapshot!(line);
    }
}
