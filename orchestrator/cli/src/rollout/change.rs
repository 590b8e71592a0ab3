//! `rollout restart`, `pause` and `resume`: one small patch each.

use rayfleet_api::names::ANNOTATION_RESTARTED_AT;
use rayfleet_cli_kit::{CliError, Terminal, clock};
use serde_json::json;

use crate::error::{OBJECT, RESOURCE};
use crate::fleets::Fleets;
use crate::view::Fleet;

/// Gives the template a new annotation, and so every group a new pod revision.
pub(super) async fn restart(fleet: &str, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    if Fleet::read(&fleets.get(fleet).await?).paused {
        return Err(CliError::failed(
            format!("cannot restart fleet \"{fleet}\": it is paused"),
            format!("resume it first: kubectl rayfleet rollout resume {}", fleets.named(fleet)),
        ));
    }
    let at = clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let change = json!({"spec": {"template": {"metadata": {"annotations": {ANNOTATION_RESTARTED_AT: at}}}}});
    fleets.merge(fleet, &change).await?;
    terminal.print(&format!("{OBJECT}/{fleet} restarted\n"))
}

/// Holds rollouts.
pub(super) async fn pause(fleet: &str, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    set_paused(fleet, true, fleets).await?;
    terminal.print(&format!("{OBJECT}/{fleet} paused\n"))
}

/// Continues rollouts.
pub(super) async fn resume(fleet: &str, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    set_paused(fleet, false, fleets).await?;
    terminal.print(&format!("{OBJECT}/{fleet} resumed\n"))
}

async fn set_paused(fleet: &str, paused: bool, fleets: &Fleets) -> Result<(), CliError> {
    if Fleet::read(&fleets.get(fleet).await?).paused == paused {
        let state = if paused { "already paused" } else { "not paused" };
        return Err(CliError::plain(format!("{RESOURCE} \"{fleet}\" is {state}")));
    }
    fleets.merge(fleet, &json!({"spec": {"paused": paused}})).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rayfleet_cli_kit::Format;
    use rayfleet_cli_kit::testing::Kept;

    use super::*;
    use crate::sample;
    use crate::simulated::Simulated;

    #[tokio::test]
    async fn restart_changes_an_annotation_of_the_template() {
        let server = Simulated::with([sample::upgrading()]);
        restart("llama", &server.fleets(), &Kept::default().terminal(Format::Text)).await.unwrap();
        let template = &server.llama().data["spec"]["template"];
        let at = &template["metadata"]["annotations"][ANNOTATION_RESTARTED_AT];
        assert!(at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{template}");
        assert_eq!(template["spec"], sample::template("ray:1")["spec"]);
    }

    #[tokio::test]
    async fn a_paused_fleet_is_not_restarted() {
        let mut fleet = sample::upgrading();
        fleet.data["spec"]["paused"] = json!(true);
        let server = Simulated::with([fleet]);
        let fault =
            restart("llama", &server.fleets(), &Kept::default().terminal(Format::Text)).await.unwrap_err();
        assert!(fault.to_string().contains("rollout resume llama"), "{fault}");
        assert!(server.patches().is_empty());
    }

    #[tokio::test]
    async fn pausing_twice_is_an_error_and_so_is_resuming() {
        let server = Simulated::with([sample::upgrading()]);
        let (fleets, kept) = (server.fleets(), Kept::default());
        let terminal = kept.terminal(Format::Text);
        pause("llama", &fleets, &terminal).await.unwrap();
        assert_eq!(server.llama().data["spec"]["paused"], true);
        let fault = pause("llama", &fleets, &terminal).await.unwrap_err();
        assert!(fault.to_string().contains("is already paused"), "{fault}");
        resume("llama", &fleets, &terminal).await.unwrap();
        let fault = resume("llama", &fleets, &terminal).await.unwrap_err();
        assert!(fault.to_string().contains("is not paused"), "{fault}");
        assert_eq!(server.patches(), [true, false].map(|paused| json!({"spec": {"paused": paused}})));
    }
}
