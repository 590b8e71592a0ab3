//! `kubectl rayfleet logs`: the logs of a fleet's engines, ranks and pods as one.
//!
//! `facts` and `source` say which logs there are, `container` and `ray` read one each, by `pods/log` and through `dashboard`, `merge`
//! and `show` bring the lines into an order and on paper. This file starts the readings and ends them.

pub(crate) mod args;
mod container;
mod context;
mod dashboard;
mod facts;
mod job;
mod kuberay;
mod line;
mod merge;
mod ray;
mod show;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod as PodKind;
use kube::core::ApiResource;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_cli_kit::terminal::note;
use rayfleet_cli_kit::{CliError, Terminal, clock};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::args::LogsArgs;
use self::context::{Closed, Context, Options, Said};
use self::facts::{Pod, World};
use self::merge::Merge;
use self::show::Show;
use self::source::{Selection, Source, within};
use crate::error;
use crate::fleets::Fleets;
use crate::follow::{Follow, Scope};
use crate::view::Fleet;
use crate::watch::{Kept, Target, Watch};

/// Lines that wait to be printed: while they do, no more is read.
const WAITING: usize = 256;

/// Prints the logs; with `-f` until it is interrupted.
pub(crate) async fn run(args: &LogsArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    tokio::select! {
        done = read(args, fleets, terminal) => done,
        // Ctrl-C is how `-f` ends.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn read(args: &LogsArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let mut watched = Watched::new(args, fleets).await?;
    let operators = if args.kuberay { kuberay::find(fleets).await? } else { BTreeSet::new() };
    let mut readings = Readings::new(args, fleets, watched.world(), operators);
    let show = Show::new(terminal.color, args.timestamps, args.raw, args.grep.clone());
    let mut printer = Printer { show, terminal, opened: false, noted: String::new(), refused: Vec::new() };
    printer.show.expect(&readings.labels());
    if args.follow {
        let (out, mut said) = mpsc::channel(WAITING);
        readings.start(&out);
        loop {
            tokio::select! {
                Some(first) = said.recv() => printer.take(first, &mut said_more(&mut said))?,
                changed = watched.changed() => {
                    readings.update(changed?);
                    readings.start(&out);
                }
                () = readings.ended() => readings.start(&out),
            }
            if let Some(fault) = printer.nothing_but_refusals(readings.count()) {
                return Err(fault);
            }
        }
    }
    let logs = readings.start_apart();
    if logs.is_empty() {
        return Err(nothing(args, fleets, &watched.world()));
    }
    let mut merge = Merge::new(logs);
    while let Some(said) = merge.next().await {
        printer.take(said, &mut std::iter::empty())?;
    }
    printer.nothing_but_refusals(0).map_or(Ok(()), Err)
}

/// What has arrived beside what was received.
fn said_more(said: &mut mpsc::Receiver<Said>) -> impl Iterator<Item = Said> {
    std::iter::from_fn(|| said.try_recv().ok()).take(WAITING)
}

/// The fleet and its pods, as they are now.
struct Watched {
    fleet: Follow,
    pods: Watch,
    known: Kept<Pod>,
    world: World,
    name: String,
    namespace: String,
}

impl Watched {
    /// Reads both once; an error if there is no such fleet.
    async fn new(args: &LogsArgs, fleets: &Fleets) -> Result<Self, CliError> {
        let pods = Target {
            resource: ApiResource::erase::<PodKind>(&()),
            namespace: Some(fleets.namespace.clone()),
            labels: format!("{LABEL_FLEET}={}", args.fleet),
            fields: String::new(),
        };
        let mut watched = Self {
            fleet: Follow::new(fleets, Scope::One(&args.fleet)),
            pods: Watch::new(fleets, pods),
            known: Kept::default(),
            world: World::default(),
            name: args.fleet.clone(),
            namespace: fleets.namespace.clone(),
        };
        watched.of_fleet(true).await?;
        while !watched.known.apply(watched.pods.next().await?, Pod::read) {}
        watched.put_pods();
        Ok(watched)
    }

    fn world(&self) -> World {
        self.world.clone()
    }

    async fn of_fleet(&mut self, first: bool) -> Result<(), CliError> {
        let Some(object) = self.fleet.next().await?.values().next() else {
            return Err(error::gone(&self.name, &self.namespace, !first));
        };
        self.world.groups = World::groups(&Fleet::read(object));
        Ok(())
    }

    fn put_pods(&mut self) {
        self.world.pods =
            self.known.known.iter().map(|((_, name), pod)| (name.clone(), pod.clone())).collect();
    }

    /// Waits for a change of the fleet or its pods. May be dropped while it waits.
    async fn changed(&mut self) -> Result<World, CliError> {
        let before = self.world.clone();
        while self.world == before {
            tokio::select! {
                now = self.fleet.next() => match now?.values().next() {
                    Some(object) => self.world.groups = World::groups(&Fleet::read(object)),
                    None => return Err(error::gone(&self.name, &self.namespace, true)),
                },
                change = self.pods.next() => {
                    if self.known.apply(change?, Pod::read) {
                        self.put_pods();
                    }
                }
            }
        }
        Ok(self.world())
    }
}

/// The readings of logs that are under way.
struct Readings {
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
    began: jiff::Timestamp,
    first: bool,
}

impl Readings {
    fn new(args: &LogsArgs, fleets: &Fleets, world: World, operators: BTreeSet<Source>) -> Self {
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
            began: clock::now(),
            first: true,
        }
    }

    fn now(&self) -> Arc<World> {
        self.world.borrow().clone()
    }

    fn labels(&self) -> Vec<source::Label> {
        let world = self.now();
        self.selection.sources(&world).iter().map(|source| source.label(&world)).collect()
    }

    fn count(&self) -> usize {
        self.tasks.len()
    }

    /// The fleet or its pods have changed.
    fn update(&mut self, world: World) {
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
    fn start(&mut self, out: &mpsc::Sender<Said>) {
        for source in self.due() {
            self.begin(source, out.clone());
        }
        self.first = false;
    }

    /// The same, each into a channel of its own, to be merged.
    fn start_apart(&mut self) -> Vec<mpsc::Receiver<Said>> {
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
        let of_ray = |group: &str, launch: &rayfleet_api::LaunchId, which| ray::Reading {
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
    async fn ended(&mut self) {
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

/// Prints what the readings say.
struct Printer<'a> {
    show: Show,
    terminal: &'a Terminal,
    opened: bool,
    noted: String,
    refused: Vec<CliError>,
}

impl Printer<'_> {
    /// Prints this, and what else is there at once.
    fn take(&mut self, said: Said, more: &mut dyn Iterator<Item = Said>) -> Result<(), CliError> {
        let mut text = String::new();
        for said in std::iter::once(said).chain(more) {
            match said {
                Said::Line(entry) => {
                    let Some((document, line)) = self.show.line(&entry) else { continue };
                    match self.terminal.format {
                        rayfleet_cli_kit::Format::Text => text.push_str(&line),
                        _ => self.terminal.entry(&document, &line)?,
                    }
                }
                // Both files of a rank say the same.
                Said::Note(words) if words == self.noted => {}
                Said::Note(words) => {
                    self.terminal.progress(&words);
                    self.noted = words;
                }
                Said::Opened => self.opened = true,
                Said::Refused(fault) => {
                    // The same right is missing for every group.
                    if !self.refused.iter().any(|known| known.cure == fault.cure) {
                        self.terminal.progress(&format!(
                            "not readable: {}\ncure:  {}",
                            fault.message,
                            fault.cure.clone().unwrap_or_default()
                        ));
                        self.refused.push(fault);
                    }
                }
            }
        }
        if text.is_empty() { Ok(()) } else { self.terminal.print(&text) }
    }

    /// The error of a command that could read nothing, once no reading is under way.
    fn nothing_but_refusals(&mut self, under_way: usize) -> Option<CliError> {
        if self.opened || under_way > 0 || self.refused.is_empty() {
            return None;
        }
        Some(CliError::said())
    }
}

/// Why there is no log.
fn nothing(args: &LogsArgs, fleets: &Fleets, world: &World) -> CliError {
    let named = fleets.named(&args.fleet);
    let groups: Vec<&str> = world.groups.keys().map(String::as_str).collect();
    match &args.group {
        Some(group)
            if !world.groups.contains_key(group) && !world.pods.values().any(|pod| pod.group == *group) =>
        {
            CliError::failed(
                format!("fleet \"{}\" has no group \"{group}\"", args.fleet),
                if groups.is_empty() {
                    format!("see kubectl rayfleet status {named}")
                } else {
                    format!("its groups: {}", groups.join(", "))
                },
            )
        }
        _ if args.previous => CliError::failed(
            format!("nothing of fleet \"{}\" has ended and started again", args.fleet),
            "leave --previous out for the present logs",
        ),
        _ => CliError::failed(
            format!("fleet \"{}\" has no such log now", args.fleet),
            format!("wait for it with -f, or see what it waits for: kubectl rayfleet diagnose {named}"),
        ),
    }
}
