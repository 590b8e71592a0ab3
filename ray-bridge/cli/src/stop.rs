//! `stop`: ends an engine's job, and with it its ranks and placement group.

use rayfleet_cli_kit::age::between;
use rayfleet_cli_kit::{CliError, Terminal, clock};
use serde_json::json;
use tokio::time::sleep;

use crate::args::StopArgs;
use crate::connect::Session;
use crate::{Answer, drain, error};

/// The end of a job is polled more often than changes of an engine: it is near, and the next step waits for
/// it.
const LOOKS_A_PACE: u32 = 5;

pub(crate) async fn run(args: &StopArgs, session: &Session, terminal: &Terminal) -> Result<Answer, CliError> {
    let name = &args.name;
    let found = session.find(name).await?;
    if found.job.status.has_ended() {
        terminal
            .result(&json!({"name": name, "stopped": false}), &format!("{name}: it had ended before\n"))?;
        return Ok(Answer::Yes);
    }
    if args.drain {
        drain::or_fail(&found, args.drain_timeout, session, terminal).await?;
    }
    let began = clock::now();
    session.bridge.stop(&session.target(None), name).await.map_err(error::call)?;
    loop {
        let ended = session.job(name).await?.is_none_or(|job| job.status.has_ended());
        let spent = between(began, clock::now());
        if ended {
            let seconds = spent.as_secs_f64();
            let document = json!({"name": name, "stopped": true, "seconds": seconds});
            terminal.result(&document, &format!("{name}: stopped in {seconds:.1} s\n"))?;
            return Ok(Answer::Yes);
        }
        if spent >= args.timeout {
            return Err(CliError::failed(
                format!("engine {name}: Ray has not ended its job within {} s", args.timeout.as_secs()),
                "check the node that runs it: `ray status` and the raylet's log there; then stop it again",
            ));
        }
        sleep(session.pace / LOOKS_A_PACE).await;
    }
}
