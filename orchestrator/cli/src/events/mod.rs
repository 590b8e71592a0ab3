//! `kubectl rayfleet events`: one time line of fleets and of all that belongs to them.
//!
//! `objects` says what an object tells of its times (`fact`), `members` whose it is, `entry` merges and sorts, `show` renders. This file reads
//! and follows.

pub(crate) mod args;
mod entry;
mod fact;
mod members;
mod objects;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Event as EventKind, Node as NodeKind, Pod as PodKind};
use kube::core::ApiResource;
use kube::{Api, Error};
use rayfleet_api::RayClusterFleet;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_cli_kit::table::Columns;
use rayfleet_cli_kit::terminal::note;
use rayfleet_cli_kit::{CliError, Format, Terminal};

use self::args::EventsArgs;
use self::entry::{Entry, MOST, Printed, timeline};
use self::members::Members;
use self::show::{Document, Shape, table};
use crate::error;
use crate::fleets::Fleets;
use crate::watch::{Change, Raw, Target, Watch};

/// Nodes whose own status is read.
const NODES: usize = 64;

/// Prints the time line; with `-w` until it is interrupted.
pub(crate) async fn run(args: &EventsArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let mut line = TimeLine::new(args, fleets);
    let mut entries = line.read().await?;
    let wide = args.output == Some(crate::global::WideOutput::Wide);
    let shape = Shape { namespaces: args.all_namespaces, wide, timestamps: args.timestamps };
    let began = fleets.now();
    entries.retain(|entry| line.wants(entry, began));
    let (entries, left) = timeline(entries);
    if left > 0 {
        note(&format!("{left} older events are left out"));
    }
    if !args.watch {
        if entries.is_empty() && terminal.format == Format::Text {
            note(&line.nothing());
            return Ok(());
        }
        let text = table(&entries, shape, fleets.now()).render(terminal.color);
        return terminal.result(&Document { events: &entries }, &text);
    }
    let (mut printed, mut columns) = (Printed::default(), Columns::default());
    let mut print = |entries: &[Entry], printed: &mut Printed| {
        let new: Vec<&Entry> = entries.iter().filter(|entry| printed.is_new(entry)).collect();
        if terminal.format == Format::Text {
            let text = columns.lines(&table(new, shape, fleets.now()), terminal.color);
            return if text.is_empty() { Ok(()) } else { terminal.print(&text) };
        }
        new.into_iter().try_for_each(|entry| terminal.entry(entry, ""))
    };
    // What was read has been printed in the form that it has single, too.
    print(&entries, &mut printed)?;
    line.single.sort_by_key(|single| single.last);
    for single in line.single.drain(..) {
        printed.is_new(&single);
    }
    loop {
        let mut entries = tokio::select! {
            change = line.next() => change?,
            // Ctrl-C is how a watch ends.
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        entries.retain(|entry| line.wants(entry, began));
        print(&entries, &mut printed)?;
    }
}

/// What a watch is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fleet,
    Cluster,
    Pod,
    Revision,
    Event,
}

type Changes = BoxStream<'static, (Kind, Result<Change, CliError>)>;

/// The watches, and what they have told so far.
struct TimeLine<'a> {
    args: &'a EventsArgs,
    fleets: &'a Fleets,
    members: Members,
    changes: SelectAll<Changes>,
    /// Entries that were read before the watch began, as they came: only with `-w`.
    single: Vec<Entry>,
}

impl<'a> TimeLine<'a> {
    fn new(args: &'a EventsArgs, fleets: &'a Fleets) -> Self {
        Self { args, fleets, members: Members::default(), changes: SelectAll::new(), single: Vec::new() }
    }

    fn target(&self, resource: ApiResource) -> Target {
        let namespace = (!self.args.all_namespaces).then(|| self.fleets.namespace.clone());
        Target { resource, namespace, labels: String::new(), fields: String::new() }
    }

    /// Reads all that there is: first what says what belongs together, then events.
    async fn read(&mut self) -> Result<Vec<Entry>, CliError> {
        let labels = match &self.args.fleet {
            Some(fleet) => format!("{LABEL_FLEET}={fleet}"),
            None => LABEL_FLEET.to_owned(),
        };
        let fields =
            self.args.fleet.as_ref().map(|fleet| format!("metadata.name={fleet}")).unwrap_or_default();
        let fleet = Target { fields, ..self.target(ApiResource::erase::<RayClusterFleet>(&())) };
        let ours = |resource| Target { labels: labels.clone(), ..self.target(resource) };
        let clusters = ours(ray_cluster());
        let pods = ours(ApiResource::erase::<PodKind>(&()));
        let revisions = ours(ApiResource::erase::<ControllerRevision>(&()));
        let events = self.target(ApiResource::erase::<EventKind>(&()));
        let mut entries = Vec::new();
        let found = self.first(Kind::Fleet, fleet, &mut entries).await?;
        if let (0, Some(name)) = (found, &self.args.fleet) {
            return Err(error::not_found(name, &self.fleets.namespace));
        }
        self.of_kind(Kind::Cluster, clusters, &mut entries).await;
        self.of_kind(Kind::Pod, pods, &mut entries).await;
        self.of_kind(Kind::Revision, revisions, &mut entries).await;
        self.nodes(&mut entries).await;
        // Events of nodes are in the namespace `default`.
        let elsewhere = events.namespace.as_deref().is_some_and(|namespace| namespace != "default");
        if elsewhere {
            let fields = "involvedObject.kind=Node".to_owned();
            let nodes = Target { namespace: Some("default".to_owned()), fields, ..events.clone() };
            self.of_kind(Kind::Event, nodes, &mut entries).await;
        }
        self.of_kind(Kind::Event, events, &mut entries).await;
        if self.args.watch {
            self.single.clone_from(&entries);
        }
        Ok(entries)
    }

    /// The same as [`Self::first`]; what cannot be read is said and left out.
    async fn of_kind(&mut self, kind: Kind, target: Target, entries: &mut Vec<Entry>) {
        let named = target.named();
        if let Err(fault) = self.first(kind, target, entries).await {
            note(&format!("without {named}: {}", fault.message));
        }
    }

    /// Reads all of a kind, and goes on to watch it if that is wanted; how many there are.
    async fn first(
        &mut self,
        kind: Kind,
        target: Target,
        entries: &mut Vec<Entry>,
    ) -> Result<usize, CliError> {
        let mut watch = Watch::new(self.fleets, target);
        let mut count = 0;
        loop {
            let change = watch.next().await?;
            count += usize::from(matches!(change, Change::Is(_)));
            let complete = matches!(change, Change::Complete);
            entries.extend(self.take(kind, change));
            // What is too old to be shown is not kept.
            if entries.len() > 4 * MOST {
                let (kept, _) = timeline(std::mem::take(entries));
                *entries = kept;
            }
            if complete {
                break;
            }
        }
        if self.args.watch {
            let changes = stream::unfold(watch, move |mut watch| async move {
                let change = watch.next().await;
                Some(((kind, change), watch))
            });
            self.changes.push(changes.boxed());
        }
        Ok(count)
    }

    /// What a change tells, as entries; what belongs to no fleet tells nothing.
    fn take(&mut self, kind: Kind, change: Change) -> Vec<Entry> {
        let object = match &change {
            Change::Is(object) => Some(object.value.clone()),
            _ => None,
        };
        match kind {
            Kind::Fleet => self.members.fleet(change),
            Kind::Cluster => self.members.cluster(change),
            Kind::Pod => self.members.pod(change),
            Kind::Revision | Kind::Event => {}
        }
        let Some(object) = object else { return Vec::new() };
        match kind {
            Kind::Fleet => objects::fleet(&object),
            Kind::Cluster => objects::cluster(&object),
            Kind::Pod => objects::pod(&object),
            Kind::Revision => objects::revision(&object),
            Kind::Event => objects::event(&object).map(|entry| self.whose(&entry)).unwrap_or_default(),
        }
    }

    /// An event as one of each fleet that its object belongs to.
    fn whose(&self, entry: &Entry) -> Vec<Entry> {
        let of = self.members.of(&entry.object).into_iter();
        let of =
            of.filter(|(fleet, _)| entry.object.kind != "node" || !self.members.is_before(fleet, entry.last));
        of.map(|((_, fleet), groups)| Entry { fleet, groups, ..entry.clone() }).collect()
    }

    /// What the nodes of the fleets say of themselves.
    async fn nodes(&mut self, entries: &mut Vec<Entry>) {
        let api: Api<Raw> = Api::all_with(self.fleets.client.clone(), &ApiResource::erase::<NodeKind>(&()));
        let names: BTreeSet<String> = self.members.nodes().into_iter().take(NODES).collect();
        let reads = names.iter().map(|name| tokio::time::timeout(self.fleets.timeout, api.get_opt(name)));
        let nodes = stream::iter(reads).buffered(8).collect::<Vec<_>>().await;
        for node in nodes {
            match node {
                Ok(Ok(Some(node))) => {
                    for (object, fact) in objects::node(&node.value) {
                        for (key, groups) in self.members.of(&object) {
                            let entry = objects::of_fleet(&object, fact.clone(), &key.1, &groups);
                            if !self.members.is_before(&key, entry.last) {
                                entries.push(entry);
                            }
                        }
                    }
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    note(&format!(
                        "without nodes: {}",
                        error::reading(&error, &self.fleets.server, "nodes", None).message
                    ));
                    if matches!(error, Error::Api(_)) {
                        return;
                    }
                }
                Err(_) => note("without a node: no answer in time"),
            }
        }
    }

    /// What comes next. May be dropped while it waits.
    async fn next(&mut self) -> Result<Vec<Entry>, CliError> {
        let mut entries = Vec::new();
        let Some((kind, change)) = self.changes.next().await else {
            return Err(CliError::plain("nothing is left to watch"));
        };
        entries.extend(self.told(kind, change)?);
        // What is there already is printed with it.
        while let Some(Some((kind, change))) = self.changes.next().now_or_never() {
            entries.extend(self.told(kind, change)?);
            if entries.len() > MOST {
                break;
            }
        }
        entries.sort_by_key(|entry| entry.last);
        Ok(entries)
    }

    fn told(&mut self, kind: Kind, change: Result<Change, CliError>) -> Result<Vec<Entry>, CliError> {
        match (change?, kind, &self.args.fleet) {
            (Change::Gone(_), Kind::Fleet, Some(name)) => {
                Err(error::gone(name, &self.fleets.namespace, true))
            }
            (change, ..) => Ok(self.take(kind, change)),
        }
    }

    /// Whether an entry was asked for.
    fn wants(&self, entry: &Entry, now: Timestamp) -> bool {
        let from = self.args.since.and_then(|since| now.checked_sub(since).ok()).unwrap_or(Timestamp::MIN);
        let of_fleet = self.args.fleet.as_ref().is_none_or(|fleet| *fleet == entry.fleet);
        let of_group = self.args.group.as_ref().is_none_or(|group| entry.groups.contains(group));
        of_fleet && of_group && entry.last >= from && self.args.wants(entry.warning)
    }

    fn nothing(&self) -> String {
        match &self.args.fleet {
            _ if self.args.all_namespaces => "No events of fleets found.".to_owned(),
            Some(fleet) => {
                let of = self
                    .args
                    .group
                    .as_ref()
                    .map(|group| format!("group \"{group}\" of "))
                    .unwrap_or_default();
                format!("No such events of {of}fleet \"{fleet}\" found.")
            }
            None => format!(
                "No events of fleets found in namespace \"{}\"; all namespaces: -A",
                self.fleets.namespace
            ),
        }
    }
}

fn ray_cluster() -> ApiResource {
    ApiResource {
        group: "ray.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "ray.io/v1".to_owned(),
        kind: "RayCluster".to_owned(),
        plural: "rayclusters".to_owned(),
    }
}
