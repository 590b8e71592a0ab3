//! The progress of a rollout from one state of the fleet. Pure: waiting is in `status`.

use rayfleet_api::status::RolloutStep;
use rayfleet_cli_kit::table::one_line;

use crate::view::{Fleet, Rollout};

/// State of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Every group matches the spec.
    Complete(String),
    /// It is in progress, or is held and may continue.
    Waiting(String),
    /// It will not complete without a person.
    Failed(String),
}

/// Evaluates a fleet.
pub(super) fn progress(fleet: &Fleet) -> Progress {
    let name = &fleet.name;
    if fleet.deleting {
        return Progress::Failed(format!("fleet \"{name}\" is being deleted"));
    }
    if !fleet.observed_now() {
        return Progress::Waiting(format!(
            "Waiting for the orchestrator to observe generation {} of fleet \"{name}\"",
            fleet.generation
        ));
    }
    let progressing = fleet.condition("Progressing");
    if let Some(stopped) = progressing.filter(|it| it.status == "False") {
        let why = one_line(&stopped.message);
        match stopped.reason.as_str() {
            "ProgressDeadlineExceeded" => {
                return Progress::Failed(format!("fleet \"{name}\" exceeded its progress deadline: {why}"));
            }
            "RolledBack" => return Progress::Failed(format!("fleet \"{name}\" was rolled back: {why}")),
            _ => {}
        }
    }
    if let Some(message) = complete(fleet) {
        return Progress::Complete(message);
    }
    Progress::Waiting(waiting(fleet))
}

fn complete(fleet: &Fleet) -> Option<String> {
    let settled =
        fleet.rollout.as_ref().is_some_and(|rollout| rollout.step == RolloutStep::Complete.as_str())
            && fleet.replicas == fleet.desired
            && fleet.available == fleet.desired;
    if !settled {
        return None;
    }
    if fleet.updated == fleet.desired {
        return Some(format!("fleet \"{}\" successfully rolled out", fleet.name));
    }
    let wanted = fleet.desired - fleet.partition;
    (fleet.partition > 0 && fleet.updated >= wanted).then(|| {
        format!(
            "partitioned rollout of fleet \"{}\" complete: {} of {} groups updated",
            fleet.name, fleet.updated, fleet.desired
        )
    })
}

fn waiting(fleet: &Fleet) -> String {
    let surplus = fleet.replicas - fleet.desired;
    let surplus = if surplus > 0 { format!(", {surplus} more than wanted") } else { String::new() };
    let mut lines = vec![format!(
        "Waiting for fleet \"{}\" rollout to finish: {} of {} groups updated, {} ready, {} available{surplus}",
        fleet.name, fleet.updated, fleet.desired, fleet.ready, fleet.available
    )];
    if fleet.paused {
        lines.push(format!("paused: kubectl rayfleet rollout resume {}", fleet.name));
    }
    if let Some(Rollout { step, reason, .. }) =
        fleet.rollout.as_ref().filter(|rollout| rollout.step != RolloutStep::Complete.as_str())
    {
        let parts: Vec<String> = std::iter::once(step).chain(reason).map(|text| one_line(text)).collect();
        lines.push(parts.join(": "));
    }
    if let Some(stalled) = fleet.condition("Stalled").filter(|condition| condition.needs_attention()) {
        lines.push(format!("! Stalled ({}): {}", one_line(&stalled.reason), one_line(&stalled.message)));
    }
    lines.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::view::Condition;

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Condition {
        Condition {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            since: None,
        }
    }

    #[test]
    fn complete_requires_every_number_and_the_step() {
        let complete = sample::complete_fleet();
        assert!(matches!(progress(&complete), Progress::Complete(_)));
        let spoil: [fn(&mut Fleet); 6] = [
            |fleet| fleet.generation += 1,
            |fleet| fleet.updated -= 1,
            |fleet| fleet.available -= 1,
            |fleet| fleet.replicas += 1,
            |fleet| fleet.rollout = None,
            |fleet| fleet.rollout.as_mut().unwrap().step = "Create group".into(),
        ];
        for (index, spoil) in spoil.into_iter().enumerate() {
            let mut fleet = complete.clone();
            spoil(&mut fleet);
            assert!(matches!(progress(&fleet), Progress::Waiting(_)), "{index}");
        }
    }

    #[test]
    fn a_rollout_with_a_partition_is_complete() {
        let fleet = Fleet { updated: 1, partition: 1, ..sample::complete_fleet() };
        assert_eq!(
            progress(&fleet),
            Progress::Complete(
                "partitioned rollout of fleet \"llama\" complete: 1 of 2 groups updated".into()
            )
        );
    }

    #[test]
    fn a_stall_is_reported_and_waited_for() {
        let mut fleet = sample::upgrading_fleet();
        fleet.paused = true;
        fleet.conditions = vec![condition("Stalled", "True", "NoRoom", "needs 2 GPUs:\nadd a node")];
        let Progress::Waiting(line) = progress(&fleet) else { panic!("not waiting") };
        insta::assert_snapshot!(line, @r#"
        Waiting for fleet "llama" rollout to finish: 1 of 2 groups updated, 1 ready, 1 available
          paused: kubectl rayfleet rollout resume llama
          Swap engine of llama-bcdfgh-1: draining 3 requests
          ! Stalled (NoRoom): needs 2 GPUs: add a node
        "#);
    }

    #[test]
    fn an_exceeded_progress_deadline_is_an_error() {
        let mut fleet = sample::upgrading_fleet();
        fleet.conditions =
            vec![condition("Progressing", "False", "ProgressDeadlineExceeded", "no GPUs for 10m")];
        assert_eq!(
            progress(&fleet),
            Progress::Failed("fleet \"llama\" exceeded its progress deadline: no GPUs for 10m".into())
        );
        // A condition about an older spec does not count.
        fleet.generation += 1;
        assert!(matches!(progress(&fleet), Progress::Waiting(_)));
    }

    #[test]
    fn a_rollback_is_an_error() {
        let mut fleet = sample::upgrading_fleet();
        let message = "Rolling back: revision bcdfgh/zxwvtr failed: no such model";
        fleet.conditions = vec![condition("Progressing", "False", "RolledBack", message)];
        assert_eq!(progress(&fleet), Progress::Failed(format!("fleet \"llama\" was rolled back: {message}")));
    }

    #[test]
    fn a_deleted_fleet_has_no_rollout() {
        let fleet = Fleet { deleting: true, ..sample::complete_fleet() };
        assert!(matches!(progress(&fleet), Progress::Failed(_)));
    }
}
