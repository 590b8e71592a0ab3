//! The main use case: bring up a fleet, check where its ranks are, send requests, then change its engine
//! and its pods while requests run. The quickstart shows it; the cluster tests assert it. It only drives
//! and observes: all changes are made with the commands that a user would type.

pub mod follow;
pub mod places;
pub mod summary;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use rayfleet_api::RayClusterFleet;
use rayfleet_api::valid::ValidStrategy;

use crate::clock;
use crate::cluster::Cluster;
use crate::cluster::availability::Availability;
use crate::cluster::endpoint::Endpoint;
use crate::cluster::fleet::Fleet;
use crate::cluster::manifest::Manifest;
use crate::cluster::overhead::overhead;
use crate::cluster::pods::{pods, uids};
use crate::cluster::ready;
use crate::cluster::tools::Tools;
use crate::console::Console;
use crate::load::{Load, Plan, Share, complete};
use summary::{Revisions, StepTime, Summary};

const COMMAND: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_mins(2);
/// Pause between two streams of one client.
const STREAM_PAUSE: Duration = Duration::from_secs(25);
const PROMPT: &str = "The quick brown fox jumps over";

/// Parameters of the main use case.
pub struct MainJob {
    /// The cluster and namespace.
    pub cluster: Cluster,
    /// kubectl and its plugin.
    pub tools: Tools,
    /// The fleet's manifest.
    pub file: PathBuf,
    /// Option and value of the engine that the first upgrade sets.
    pub engine_change: (String, String),
    /// Tokens of a stream.
    pub stream_tokens: u32,
    /// Longest time for each step.
    pub limit: Duration,
    /// Where progress goes.
    pub console: Console,
}

impl MainJob {
    /// Runs the whole use case. An error is an action that failed; promises that were broken on the way are
    /// in the summary.
    pub async fn run(&self) -> anyhow::Result<Summary> {
        let manifest = Manifest::read(&self.file)?;
        let valid = manifest.valid()?;
        let model = valid.model.as_ref().context("the fleet of the main job needs spec.model")?.name.clone();
        let fleet = Fleet::new(&self.cluster, &valid.name);
        let mut steps = Steps::new(self.console);

        steps.begin("bring up the fleet");
        self.kubectl(&["apply", "-f", &self.file.to_string_lossy()], None).await?;
        let seen = follow::settle(&fleet, self.limit, self.console, || None).await?;

        steps.begin("compare the placement with Ray's own report");
        for line in places::lines(&places::check(&fleet, &seen).await?) {
            self.console.say(line);
        }

        steps.begin("answer a completion through the Service");
        let endpoint = Endpoint::of(&self.cluster, &fleet.name, &self.tools).await?;
        let answer = complete(&endpoint.target, &model, PROMPT, 12, PATIENCE).await?;
        self.console.say(format_args!("{} (by {}): {PROMPT}{answer}", endpoint.target, endpoint.way));

        let load = Load::start(&self.plan(&endpoint, &model));
        let availability = Availability::watch(&fleet, &fleet.name);
        let progress = || Some(load.so_far().line());

        steps.begin("engine-only upgrade under load");
        let before = uids(&pods(&fleet).await?);
        let first = revisions(&seen);
        let (option, value) = &self.engine_change;
        self.console.say(format_args!("change: spec.model.engine.args {option} {value}"));
        let changed = serde_json::to_string(&manifest.with_engine_arg(option, value).fleet)?;
        self.kubectl(&["apply", "-f", "-"], Some(&changed)).await?;
        let seen = follow::settle(&fleet, self.limit, self.console, progress).await?;
        places::check(&fleet, &seen).await?;
        let second = revisions(&seen);
        let swapped = uids(&pods(&fleet).await?);

        steps.begin("template upgrade under load");
        self.kubectl(&["rayfleet", "rollout", "restart", &fleet.name], None).await?;
        let seen = follow::settle(&fleet, self.limit, self.console, progress).await?;
        places::check(&fleet, &seen).await?;
        let replaced = uids(&pods(&fleet).await?);

        steps.begin("wait for the last requests");
        let extremes = availability.so_far();
        let report = load.stop(self.limit).await;
        let (fewest_allowed, most_allowed) = bounds(&seen, valid.strategy);
        Ok(Summary {
            steps: steps.end(),
            load: report,
            extremes,
            fewest_allowed,
            most_allowed,
            revisions: (first, second),
            pods_kept: (both(&before, &swapped), before.len()),
            pods_replaced: (swapped.len() - both(&swapped, &replaced), swapped.len()),
            overhead: overhead(&self.cluster).await?,
        })
    }

    async fn kubectl(&self, args: &[&str], input: Option<&str>) -> anyhow::Result<()> {
        self.console.say(format_args!("$ kubectl {}", args.join(" ")));
        for line in self.tools.run(args, input, COMMAND).await?.lines() {
            self.console.say(line);
        }
        Ok(())
    }

    fn plan(&self, endpoint: &Endpoint, model: &str) -> Plan {
        Plan {
            target: endpoint.target.clone(),
            model: model.to_owned(),
            short: Share { fresh: 1, kept: 1, pause: Duration::from_secs(1), tokens: 4 },
            // An engine on CPU uses the whole machine while it streams; without pauses nothing else makes
            // progress.
            stream: Share { fresh: 1, kept: 1, pause: STREAM_PAUSE, tokens: self.stream_tokens },
            patience: PATIENCE,
        }
    }
}

/// Lowest number of ready groups and highest number of groups during a rollout.
pub fn bounds(fleet: &RayClusterFleet, strategy: ValidStrategy) -> (i32, i32) {
    let replicas = fleet.spec.replicas.unwrap_or(1);
    let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    (
        replicas.saturating_sub(signed(strategy.max_unavailable)),
        replicas.saturating_add(signed(strategy.max_surge)),
    )
}

fn revisions(fleet: &RayClusterFleet) -> Revisions {
    ready::groups(fleet)
        .iter()
        .map(|group| {
            (group.revision.to_string(), group.engine_revision.clone().unwrap_or_default().to_string())
        })
        .collect()
}

fn both(one: &BTreeSet<String>, other: &BTreeSet<String>) -> usize {
    one.intersection(other).count()
}

/// Names the steps as they start, and records their times.
struct Steps {
    console: Console,
    done: Vec<StepTime>,
    current: Option<(&'static str, Instant)>,
}

impl Steps {
    fn new(console: Console) -> Self {
        Self { console, done: Vec::new(), current: None }
    }

    fn begin(&mut self, step: &'static str) {
        self.finish();
        self.console.say(format_args!("== {step}"));
        self.current = Some((step, clock::instant()));
    }

    fn finish(&mut self) {
        if let Some((step, start)) = self.current.take() {
            let seconds = clock::seconds_since(start);
            self.console.say(format_args!("== {step}: {seconds:.1} s"));
            self.done.push(StepTime { step, seconds });
        }
    }

    fn end(mut self) -> Vec<StepTime> {
        self.finish();
        self.done
    }
}
