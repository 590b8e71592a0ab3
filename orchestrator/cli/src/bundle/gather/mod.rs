//! Reads everything that a bundle has, and hands it to the pack. `calls` makes each call, `objects` says which objects, `reduce` what is
//! left of them, `groups` what pods are asked.

mod calls;
mod groups;
mod objects;
mod reduce;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use futures::StreamExt;
use rayfleet_cli_kit::{CliError, Terminal};
use serde_json::Value;
use tokio::time::Instant;

use self::calls::Calls;
pub(super) use self::groups::Bounds;
use self::groups::{Clock, Said};
use self::objects::{Objects, Read};
use super::counted;
use super::manifest::{FORMAT, Manifest, Scope, What};
use super::pack::Pack;
use super::redact::Redactor;
use crate::error;
use crate::fleets::Fleets;
use crate::revisions::{self, RECORDED};

/// Pods that are asked at a time.
const AT_ONCE: usize = 8;
/// Time between two readings of metrics, from which rates come.
const INTERVAL: Duration = Duration::from_secs(2);

/// Reads the cluster into a pack. An error says that there is nothing that a bundle could be made of.
pub(super) async fn gather(
    scope: Scope,
    bounds: Bounds,
    fleets: &Fleets,
    pack: &mut Pack,
    terminal: &Terminal,
) -> Result<Manifest, CliError> {
    let calls = Calls { fleets };
    let mut objects = Objects::new(calls, &scope);
    terminal.progress(&format!("reading the objects of {}", scope.words()));
    let began = fleets.now();
    let (server, date) = calls.version().await.map_err(|fault| {
        CliError::failed(
            fault.message,
            "nothing was read: check the context, or give it longer with --request-timeout",
        )
    })?;
    objects.read().await;
    if let Some(namespace) = &scope.namespace
        && let Some(first) = objects.all.iter().find(|read| read.entry.path.ends_with("/rayclusterfleets"))
        && first.entry.fault.is_none()
        && first.objects.is_empty()
    {
        return Err(scope.fleet.as_ref().map_or_else(
            || CliError::plain(format!("No fleets found in namespace \"{namespace}\"; all namespaces: -A")),
            |fleet| error::not_found(fleet, namespace),
        ));
    }
    let redactor = Redactor::of(objects.all.iter().flat_map(|read| &read.objects), &names(&objects));
    pack.redactor = redactor.map_err(|why| {
        CliError::failed(
            format!("nothing was written, because not all secrets of {} can be hidden: {why}", scope.words()),
            "make a bundle of less: of one namespace, or of one fleet",
        )
    })?;
    let of = groups::of_fleets(&objects, fleets);
    let containers = groups::containers(&objects);
    let asked = of.iter().map(|fleet| groups::groups(fleet).len()).sum::<usize>();
    terminal.progress(&format!("reading metrics and dashboards of {}", counted(asked, "group")));
    let clock = Clock { began, start: instant() };
    let first = groups::engines(&of, clock, AT_ONCE).await;
    let gpus = groups::gpus(&of, clock, AT_ONCE).await;
    if !first.is_empty() {
        tokio::time::sleep(INTERVAL).await;
    }
    let second = groups::engines(&of, clock, AT_ONCE).await;
    objects.lease().await;
    let words = "the bundle cannot be written";
    let unwritten = |error: io::Error| CliError::plain(format!("{words}: {error}"));
    for read in objects.all {
        put_objects(pack, read).map_err(unwritten)?;
    }
    for said in first.into_iter().chain(second).chain(gpus) {
        put(pack, said).map_err(unwritten)?;
    }
    let asks = of.iter().flat_map(|fleet| groups::groups(fleet).into_iter().map(move |group| (fleet, group)));
    let mut answers = futures::stream::iter(asks)
        .map(async |(fleet, group)| groups::dashboards(fleet, &group, bounds, began).await)
        .buffered(AT_ONCE);
    while let Some(said) = answers.next().await {
        said.into_iter().try_for_each(|said| put(pack, said)).map_err(unwritten)?;
    }
    terminal.progress(&format!("reading the logs of {}", counted(containers.len(), "container")));
    let mut logs = futures::stream::iter(&containers)
        .map(async |container| groups::log(fleets, container, bounds).await)
        .buffered(AT_ONCE);
    while let Some(said) = logs.next().await {
        put(pack, said).map_err(unwritten)?;
    }
    Ok(Manifest {
        format: FORMAT,
        at: date.unwrap_or(began),
        made_by: format!("kubectl-rayfleet {}", env!("CARGO_PKG_VERSION")),
        scope: scope.clone(),
        server,
        since_seconds: bounds.since_seconds,
        entries: Vec::new(),
        left_out: Vec::new(),
    })
}

/// Rates are made of differences, which are not to jump with the clock of the machine.
#[expect(clippy::disallowed_methods, reason = "a wall clock may be set between two readings")]
fn instant() -> Instant {
    Instant::now()
}

/// Names and labels of all objects, which are never taken for secrets.
fn names(objects: &Objects<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for object in objects.all.iter().flat_map(|read| &read.objects) {
        let metadata = &object["metadata"];
        let labels = metadata["labels"].as_object().into_iter().flatten().map(|(_, value)| value);
        let fields = [&metadata["name"], &metadata["namespace"], &metadata["uid"]];
        names.extend(fields.into_iter().chain(labels).filter_map(Value::as_str).map(str::to_owned));
    }
    names
}

fn put_objects(pack: &mut Pack, read: Read) -> io::Result<()> {
    let Read { entry, mut objects } = read;
    let path = entry.path.trim_start_matches("/apis/").trim_start_matches("/api/").to_owned();
    let name = format!("objects/{}.json", path.replace("namespaces/", ""));
    // What is redacted has another hash, by which groups and revisions are known.
    for object in &mut objects {
        keep_revision(pack, object);
    }
    match (entry.what, objects.len(), &entry.fault) {
        (_, _, Some(fault)) => {
            let fault = fault.clone();
            pack.missing(entry, fault);
            Ok(())
        }
        (What::Object, 1, _) => pack.object(entry, objects.remove(0), &name),
        _ => pack.list(entry, objects, &name),
    }
}

fn put(pack: &mut Pack, said: Said) -> io::Result<()> {
    let Said { entry, name, answer } = said;
    match answer {
        Ok(tail) => pack.text(entry, &tail, &name),
        Err(fault) => {
            pack.missing(entry, fault);
            Ok(())
        }
    }
}

/// Writes the hash of template and model beside them, if they are not going to have it any more.
fn keep_revision(pack: &Pack, object: &mut Value) {
    let (at, of) = match object["kind"].as_str() {
        Some("RayClusterFleet") => ("", "spec"),
        Some("ControllerRevision") => ("data", "spec"),
        _ => return,
    };
    let content = if at.is_empty() { &object[of] } else { &object[at][of] };
    let hash = |content: &Value| revisions::hash(&content["template"], &content["model"]).ok();
    let Some(before) = hash(content) else { return };
    let mut after = content.clone();
    pack.redactor.object(&mut after);
    if hash(&after).as_ref() == Some(&before) {
        return;
    }
    let into = if at.is_empty() { Some(object) } else { object.get_mut(at) };
    if let Some(fields) = into.and_then(Value::as_object_mut) {
        fields.insert(RECORDED.to_owned(), before.to_string().into());
    }
}
