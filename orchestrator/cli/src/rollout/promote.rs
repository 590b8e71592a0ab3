//! `rollout promote`: continues a rollout that `partition` holds, one group further or to its end.

use rayfleet_cli_kit::{CliError, Terminal};
use serde_json::{Value, json};

use super::args::PromoteArgs;
use super::progress::{Progress, progress};
use crate::error::OBJECT;
use crate::fleets::Fleets;
use crate::view::Fleet;

/// Where a partition is.
pub(super) const PARTITION: &str = "/spec/strategy/rollingUpdate/partition";

/// What a promotion writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// Groups that stay on the old revision from then on.
    partition: i64,
    /// A pause ends.
    resume: bool,
}

pub(super) async fn run(args: &PromoteArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let name = &args.fleet;
    let fleet = Fleet::read(&fleets.get(name).await?);
    let step = step(&fleet, args.full, &fleets.named(name))?;
    if fleets.replace_at(name, fleet.generation, operations(&fleet, step)).await?.is_none() {
        return Err(CliError::failed(
            format!(
                "somebody changed the spec of fleet \"{name}\" while it was being promoted: nothing was written"
            ),
            format!("see what it asks for now: kubectl rayfleet rollout diff {}", fleets.named(name)),
        ));
    }
    let resumed = if step.resume { "; it is no longer paused" } else { "" };
    let groups = fleet.desired.saturating_sub(step.partition);
    terminal.print(&format!(
        "{OBJECT}/{name} promoted: {groups} of {} groups are to be updated (partition {}){resumed}\n",
        fleet.desired, step.partition
    ))
}

/// The next step, if the one before is done. With `full` the last one, whatever is done.
fn step(fleet: &Fleet, full: bool, named: &str) -> Result<Step, CliError> {
    let name = &fleet.name;
    let refused = |why: String, cure: String| Err(CliError::failed(format!("fleet \"{name}\": {why}"), cure));
    if fleet.deleting {
        return refused("it is being deleted".to_owned(), format!("see: kubectl rayfleet status {named}"));
    }
    let held = fleet.partition.min(fleet.desired);
    if full && (held > 0 || fleet.paused) {
        return Ok(Step { partition: 0, resume: fleet.paused });
    }
    if fleet.paused {
        return refused(
            "it is paused".to_owned(),
            format!("resume it first: kubectl rayfleet rollout resume {named}; or promote it --full"),
        );
    }
    if held == 0 {
        return refused(
            "no partition holds its rollout, so there is nothing to promote".to_owned(),
            format!("follow it: kubectl rayfleet rollout status {named}"),
        );
    }
    match progress(fleet) {
        Progress::Complete(_) => Ok(Step { partition: held - 1, resume: false }),
        Progress::Waiting(line) | Progress::Failed(line) => refused(
            format!("the groups that were promoted before do not all serve: {}", line.replace("\n  ", "; ")),
            format!(
                "wait: kubectl rayfleet rollout status {named}; go back: kubectl rayfleet rollout abort {named}; or promote it all the \
                 same with --full"
            ),
        ),
    }
}

fn operations(fleet: &Fleet, step: Step) -> Vec<Value> {
    let mut operations = Vec::new();
    if fleet.partition > 0 {
        operations.push(json!({"op": "replace", "path": PARTITION, "value": step.partition}));
    }
    if step.resume {
        operations.push(json!({"op": "replace", "path": "/spec/paused", "value": false}));
    }
    operations
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use rayfleet_cli_kit::Format;
    use rayfleet_cli_kit::testing::Kept;

    use super::*;
    use crate::sample;
    use crate::simulated::Simulated;

    /// A canary: of four groups the partition holds three.
    fn canary() -> DynamicObject {
        let mut fleet = sample::upgrading();
        fleet.data["spec"]["replicas"] = json!(4);
        fleet.data["spec"]["strategy"] = json!({"rollingUpdate": {"partition": "75%"}});
        let status = &mut fleet.data["status"];
        for (count, groups) in
            [("replicas", 4), ("updatedReplicas", 1), ("readyReplicas", 4), ("availableReplicas", 4)]
        {
            status[count] = json!(groups);
        }
        status["observedGeneration"] = json!(1);
        status["rollout"]["step"] = json!("Complete");
        fleet
    }

    async fn promote(server: &Simulated, full: bool) -> Result<String, CliError> {
        let (kept, args) = (Kept::default(), PromoteArgs { fleet: "llama".to_owned(), full });
        run(&args, &server.fleets(), &kept.terminal(Format::Text)).await?;
        Ok(kept.out())
    }

    fn partition(server: &Simulated) -> Value {
        server.llama().data["spec"]["strategy"]["rollingUpdate"]["partition"].clone()
    }

    #[tokio::test]
    async fn one_more_group_is_promoted_once_those_before_serve() {
        let server = Simulated::with([canary()]);
        let text = promote(&server, false).await.unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(partition(&server), 2);
        // The orchestrator has not even observed that.
        let fault = promote(&server, false).await.unwrap_err().to_string();
        assert!(
            fault.contains("the groups that were promoted before do not all serve: Waiting for"),
            "{fault}"
        );
        assert_eq!(partition(&server), 2);
    }

    #[tokio::test]
    async fn full_ends_partition_and_pause_whatever_serves() {
        let mut fleet = canary();
        fleet.data["spec"]["paused"] = json!(true);
        fleet.data["status"]["availableReplicas"] = json!(1);
        let server = Simulated::with([fleet]);
        let text = promote(&server, true).await.unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(
            (partition(&server), server.llama().data["spec"]["paused"].clone()),
            (json!(0), json!(false))
        );
        let fault = promote(&server, true).await.unwrap_err().to_string();
        assert!(fault.contains("nothing to promote"), "{fault}");
    }

    #[test]
    fn what_cannot_be_promoted_says_what_can_be_done() {
        let fleet = |edit: fn(&mut Fleet)| {
            let mut fleet = Fleet::read(&canary());
            fleet.generation = 1;
            edit(&mut fleet);
            fleet
        };
        let edits: [fn(&mut Fleet); 4] = [
            |fleet| fleet.paused = true,
            |fleet| fleet.partition = 0,
            |fleet| fleet.available = 3,
            |fleet| fleet.deleting = true,
        ];
        let faults = edits.map(|edit| step(&fleet(edit), false, "llama -n serving").unwrap_err().to_string());
        insta::assert_snapshot!(faults.join("\n\n"));
        // A partition above the number of groups holds them all.
        assert_eq!(
            step(&fleet(|fleet| (fleet.partition, fleet.updated) = (9, 0)), false, "").unwrap().partition,
            3
        );
    }
}
