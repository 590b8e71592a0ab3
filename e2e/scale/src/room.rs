//! No room: more groups are wanted than the nodes have GPUs for. They cannot all come up, so it is waited until nothing changes any more;
//! what the others' status says is read at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};
use kube::ResourceExt;
use kube::api::ListParams;
use rayfleet_e2e::clock;
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use crate::phase::row;
use crate::progress::is_ready;
use crate::run::Run;
use crate::watches::Followed;

/// How long no pod has changed when nothing more is expected, and the time between two looks at that.
const QUIET: f64 = 30.0;
const LOOK: Duration = Duration::from_secs(1);
/// Characters of a message that are shown.
const SHOWN: usize = 240;

/// What the status of fleets says that are not ready, in the end.
#[derive(Debug, Serialize)]
pub(crate) struct NoRoom {
    pub(crate) ready: usize,
    pub(crate) not_ready: usize,
    /// By `TYPE=STATUS REASON` of their conditions.
    pub(crate) conditions: BTreeMap<String, Said>,
}

/// A condition.
#[derive(Debug, Serialize)]
pub(crate) struct Said {
    /// How many have it.
    pub(crate) fleets: usize,
    /// Of the first of them.
    pub(crate) fleet: String,
    pub(crate) message: String,
}

/// Waits until no pod changes any more.
pub(crate) async fn quiet(run: &Run<'_>, sign: impl Fn(&Followed) -> String) -> anyhow::Result<()> {
    let quiet = async {
        while !run.followed.progress().last_pod().is_some_and(|at| clock::seconds_since(at) >= QUIET) {
            sleep(LOOK).await;
        }
    };
    run.within_limit(quiet, || sign(&run.followed)).await?;
    ensure!(
        !run.followed.progress().is_done(),
        "all fleets are up, so there is room for them: have fewer --nodes"
    );
    Ok(())
}

/// Reads what all fleets say now.
pub(crate) async fn said(run: &Run<'_>) -> anyhow::Result<NoRoom> {
    let fleets = run.fleets.api.list(&ListParams::default()).await.context("list fleets")?;
    Ok(NoRoom::of(fleets.items.iter().map(|fleet| (fleet.name_any(), &fleet.data))))
}

impl NoRoom {
    fn of<'a>(fleets: impl Iterator<Item = (String, &'a Value)>) -> Self {
        let mut all = Self { ready: 0, not_ready: 0, conditions: BTreeMap::new() };
        for (name, fleet) in fleets {
            if is_ready(fleet) {
                all.ready += 1;
                continue;
            }
            all.not_ready += 1;
            for condition in fleet["status"]["conditions"].as_array().into_iter().flatten() {
                let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
                let kind = format!("{}={} {}", text("type"), text("status"), text("reason"));
                let said = || Said { fleets: 0, fleet: name.clone(), message: text("message") };
                all.conditions.entry(kind).or_insert_with(said).fleets += 1;
            }
        }
        all
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ready, not_ready, conditions } = self;
        writeln!(f, "\nNO ROOM for all")?;
        row(f, "ready, not ready in the end", format_args!("{ready}, {not_ready}"))?;
        writeln!(f, "  conditions of those that are not, and what the first of them says")?;
        for (kind, Said { fleets, fleet, message }) in conditions {
            let shown: String = message.chars().take(SHOWN).collect();
            writeln!(f, "    {fleets:>5}  {kind}\n           {fleet}: {}", shown.replace('\n', " "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fleets_that_are_not_ready_are_counted_by_what_they_say() {
        let fleet = |ready: u32, reason: &str, message: &str| {
            let condition =
                json!({"type": "Available", "status": "False", "reason": reason, "message": message});
            json!({"spec": {"replicas": 1}, "status": {"readyReplicas": ready, "conditions": [condition]}})
        };
        let all =
            [fleet(0, "NoRoom", "first"), fleet(0, "NoRoom", "second"), fleet(1, "Fine", ""), json!({})];
        let NoRoom { ready, not_ready, conditions } =
            NoRoom::of(all.iter().enumerate().map(|(number, fleet)| (format!("f{number}"), fleet)));
        assert_eq!((ready, not_ready, conditions.len()), (1, 3, 1));
        let said = &conditions["Available=False NoRoom"];
        assert_eq!((said.fleets, said.fleet.as_str(), said.message.as_str()), (2, "f0", "first"));
    }
}
