//! The readings of logs that are under way: begins those that are wanted, as many as may be at a time, and notes which have ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use rayfleet_api::LaunchId;
use rayfleet_cli_kit::terminal::note;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::args::LogsArgs;
use super::context::{Closed, Context, Options, Said};
use super::facts::World;
use super::source::{Label, Selection, Source, within};
use super::{container, ray};
use crate::fleets::Fleets;

/// Lines that wait to be printed: while they do, no more is read.
pub(super) const WAITING: usize = 256;

/// The readings of logs that are under way.
pub(super) struct Readings {
    args: LogsArgs,
    fleets: Fleets,
    selection: Arc<Selection>,
    world: watch::Sender<Arc<World>>,
    operators: BTreeSet<Source>,
    tasks: JoinSet<(Source, Result<(), Closed>)>,
    read: BTreeSet<Source>,
    /// Logs that have ended, or are refused: they are not begun again.
    over: BTreeSet<Source>,
    left: Vec<String>,
    began: Timestamp,
    first: bool,
}

impl Readings {
    pub(super) fn new(args: &LogsArgs, fleets: &Fleets, world: World, operators: BTreeSet<Source>) -> Self {
        Self {
            args: args.clone(),
            fleets: fleets.clone(),
            selection: Arc::new(Selection::of(args)),
            world: watch::channel(Arc::new(world)).0,
            operators,
            tasks: JoinSet::new(),
            read: BTreeSet::new(),
            over: BTreeSet::new(),
            left: Vec::new(),
            began: fleets.now(),
            first: true,
        }
    }

    fn now(&self) -> Arc<World> {
        self.world.borrow().clone()
    }

    pub(super) fn labels(&self) -> Vec<Label> {
        let world = self.now();
        self.selection.sources(&world).iter().map(|source| source.label(&world)).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// The fleet or its pods have changed.
    pub(super) fn update(&mut self, world: World) {
        let wanted = self.selection.sources(&world);
        // What is gone for good need not be remembered.
        self.over.retain(|source| wanted.contains(source) || self.operators.contains(source));
        self.world.send_replace(Arc::new(world));
    }

    /// Logs to begin with now.
    fn due(&mut self) -> BTreeSet<Source> {
        let wanted: BTreeSet<Source> =
            self.selection.sources(&self.now()).union(&self.operators).cloned().collect();
        let wanted = wanted.difference(&self.over).cloned().collect();
        let (take, left) = within(self.args.max_log_requests.into(), wanted, &self.read);
        if !left.is_empty() && left != self.left {
            note(&format!(
                "left out, because only {} logs are read at a time: {}\nread more with --max-log-requests, or name a group",
                self.args.max_log_requests,
                left.join(", ")
            ));
        }
        self.left = left;
        take.difference(&self.read).cloned().collect()
    }

    /// Begins to read what is not read yet, all into one channel.
    pub(super) fn start(&mut self, out: &mpsc::Sender<Said>) {
        for source in self.due() {
            self.begin(source, out.clone());
        }
        self.first = false;
    }

    /// The same, each into a channel of its own, to be merged.
    pub(super) fn start_apart(&mut self) -> Vec<mpsc::Receiver<Said>> {
        let mut logs = Vec::new();
        for source in self.due() {
            let (out, said) = mpsc::channel(WAITING);
            self.begin(source, out);
            logs.push(said);
        }
        logs
    }

    fn begin(&mut self, source: Source, out: mpsc::Sender<Said>) {
        self.read.insert(source.clone());
        let label = Arc::new(source.label(&self.now()));
        let options = Options {
            follow: self.args.follow,
            previous: self.args.previous,
            launcher: self.args.launcher,
            since: self.args.since,
            lines: self.args.lines(),
        };
        let context = Context {
            fleets: self.fleets.clone(),
            selection: self.selection.clone(),
            world: self.world.subscribe(),
            out,
            began: self.began,
            options,
        };
        let fresh = !self.first;
        let of_pod = |namespace: &str, pod: &str, container: &str, operator| container::Reading {
            context: context.clone(),
            label: label.clone(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            operator,
            fresh,
        };
        let of_ray = |group: &str, launch: &LaunchId, which| ray::Reading {
            context: context.clone(),
            source: source.clone(),
            label: label.clone(),
            group: group.to_owned(),
            launch: launch.clone(),
            which,
            fresh,
        };
        match &source {
            Source::Container { pod, container, .. } => {
                let reading = of_pod(&self.fleets.namespace, pod, container, false);
                self.tasks.spawn(async move { (source, reading.run().await) });
            }
            Source::Operator { namespace, pod, container } => {
                let reading = of_pod(namespace, pod, container, true);
                self.tasks.spawn(async move { (source, reading.run().await) });
            }
            Source::Engine { group, launch } => {
                let reading = of_ray(group, launch, ray::Which::Job);
                self.tasks.spawn(async move { (source, reading.run().await) });
            }
            Source::Rank { group, launch, rank } => {
                let of = |error| of_ray(group, launch, ray::Which::Rank { number: *rank, error });
                let (out, error) = (of(false), of(true));
                self.tasks.spawn(async move {
                    let both = futures::future::try_join(out.run(), error.run()).await;
                    (source, both.map(|_| ()))
                });
            }
        }
    }

    /// Waits until one has ended; for ever if there is none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((source, _))) => {
                self.read.remove(&source);
                self.over.insert(source);
            }
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }
}
