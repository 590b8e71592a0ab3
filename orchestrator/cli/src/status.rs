//! `kubectl rayfleet status`: all fleets or one, once or on every change.

use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::args::{Output, StatusArgs};
use crate::clock;
use crate::error::CliError;
use crate::fleets::Fleets;
use crate::follow::{Follow, Key, Scope, Set};
use crate::lines::Lines;
use crate::render::list::{self, Shape};
use crate::render::{fleet, table::Table};
use crate::terminal::{self, Terminal};
use crate::view::Fleet;

/// Interval at which the screen is redrawn without a change.
const TICK: Duration = Duration::from_secs(1);
/// Clears the screen, once, before the first output.
const CLEAR: &str = "\u{1b}[2J";

pub(crate) async fn run(args: &StatusArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    if args.watch { watch(args, fleets, terminal).await } else { once(args, fleets, terminal).await }
}

async fn once(args: &StatusArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    if let Some(name) = &args.fleet {
        let object = fleets.get(name).await?;
        let text = match args.output {
            Some(format @ (Output::Json | Output::Yaml)) => document(&clean(&object)?, format)?,
            other => picture(&object, other, terminal),
        };
        return terminal.print(&text);
    }
    let objects = fleets.list(args.all_namespaces).await?;
    match args.output {
        Some(format @ (Output::Json | Output::Yaml)) => {
            let items = objects.iter().map(clean).collect::<Result<Vec<_>, _>>()?;
            terminal.print(&document(&json!({"apiVersion": "v1", "kind": "List", "items": items}), format)?)
        }
        other => {
            if objects.is_empty() {
                terminal::note(&nothing(args, fleets));
                return Ok(());
            }
            let shape = Shape { namespaces: args.all_namespaces, wide: other.is_some() };
            terminal.print(&table(&objects, shape).render(terminal.color))
        }
    }
}

async fn watch(args: &StatusArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let scope = match &args.fleet {
        Some(name) => Scope::One(name),
        None if args.all_namespaces => Scope::All,
        None => Scope::Namespace,
    };
    let mut follow = Follow::new(fleets, scope);
    let mut lines = Lines::new(args, terminal.color);
    let mut seen = Set::new();
    let draw = terminal.tty && !matches!(args.output, Some(Output::Json | Output::Yaml));
    let mut drawn = false;
    loop {
        // Redrawn every second, because the ages in it change.
        let change = match tokio::time::timeout(TICK, follow.next()).await {
            Ok(change) => change?,
            Err(_) if drawn => {
                terminal.redraw(&screen(args, fleets, &seen, terminal))?;
                continue;
            }
            Err(_) => follow.next().await?,
        };
        if let (Some(name), true) = (&args.fleet, change.is_empty()) {
            return Err(gone(name, &seen, fleets));
        }
        if draw {
            if !std::mem::replace(&mut drawn, true) {
                terminal.print(CLEAR)?;
            }
            terminal.redraw(&screen(args, fleets, change, terminal))?;
        } else {
            for object in changed(&seen, change) {
                let text = match args.output {
                    Some(format @ (Output::Json | Output::Yaml)) => document(&clean(object)?, format)?,
                    _ => lines.changes(&Fleet::read(object), clock::now()),
                };
                terminal.print(&text)?;
            }
        }
        seen.clone_from(change);
    }
}

fn screen(args: &StatusArgs, fleets: &Fleets, now: &Set, terminal: &Terminal) -> String {
    match (&args.fleet, now.values().next()) {
        (Some(_), Some(object)) => picture(object, args.output, terminal),
        (None, Some(_)) => {
            let shape = Shape { namespaces: args.all_namespaces, wide: args.output.is_some() };
            table(now.values(), shape).render(terminal.color)
        }
        (_, None) => nothing(args, fleets),
    }
}

fn picture(object: &DynamicObject, output: Option<Output>, terminal: &Terminal) -> String {
    let wide = output == Some(Output::Wide);
    fleet::picture(&Fleet::read(object), wide, clock::now(), terminal.color)
}

fn table<'a>(objects: impl IntoIterator<Item = &'a DynamicObject>, shape: Shape) -> Table {
    let fleets: Vec<Fleet> = objects.into_iter().map(Fleet::read).collect();
    list::table(&fleets, shape, clock::now())
}

fn nothing(args: &StatusArgs, fleets: &Fleets) -> String {
    if args.all_namespaces {
        "No fleets found.".to_owned()
    } else {
        format!("No fleets found in namespace \"{}\"; all namespaces: -A", fleets.namespace)
    }
}

fn gone(name: &str, seen: &Set, fleets: &Fleets) -> CliError {
    if seen.is_empty() {
        CliError::not_found(name, &fleets.namespace)
    } else {
        CliError::new(format!("fleet \"{name}\" was deleted"))
    }
}

/// Fleets that are new or have changed.
fn changed<'a>(seen: &'a Set, now: &'a Set) -> impl Iterator<Item = &'a DynamicObject> {
    let version =
        |set: &Set, key: &Key| set.get(key).and_then(|object| object.metadata.resource_version.clone());
    now.iter().filter(move |(key, _)| version(seen, key) != version(now, key)).map(|(_, object)| object)
}

/// The object as kubectl shows it: without managed fields.
fn clean(object: &DynamicObject) -> Result<Value, CliError> {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    serde_json::to_value(object).map_err(|error| CliError::new(format!("cannot write the object: {error}")))
}

/// JSON or YAML.
pub(crate) fn document(value: &Value, format: Output) -> Result<String, CliError> {
    let text = match format {
        Output::Json => {
            serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|e| e.to_string())
        }
        _ => serde_saphyr::to_string(value).map_err(|e| e.to_string()),
    };
    text.map_err(|error| CliError::new(format!("cannot write the object: {error}")))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use kube::ResourceExt;
    use rayfleet_sim_kube::api::Kind;

    use super::*;
    use crate::sample;
    use crate::simulated::Simulated;
    use crate::terminal::kept::Kept;

    async fn shown(args: &StatusArgs, server: &Simulated) -> String {
        let kept = Kept::default();
        run(args, &server.fleets(), &kept.terminal(false)).await.unwrap();
        kept.text()
    }

    #[tokio::test]
    async fn without_a_name_fleets_are_listed() {
        let text = shown(&StatusArgs::default(), &Simulated::with([sample::upgrading()])).await;
        assert!(text.starts_with("NAME   MODEL           DESIRED"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[tokio::test]
    async fn documents_are_the_objects_without_managed_fields() {
        let mut fleet = sample::upgrading();
        fleet.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        let server = Simulated::with([fleet]);
        assert_eq!(server.llama().managed_fields().len(), 1);
        let yaml =
            StatusArgs { fleet: Some("llama".into()), output: Some(Output::Yaml), ..StatusArgs::default() };
        let one = shown(&yaml, &server).await;
        assert!(one.contains("kind: RayClusterFleet\n") && !one.contains("managedFields"), "{one}");
        let json = StatusArgs { output: Some(Output::Json), ..StatusArgs::default() };
        let list: Value = serde_json::from_str(&shown(&json, &server).await).unwrap();
        assert_eq!(list["items"][0]["status"]["replicas"], 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_redraws_a_terminal_and_otherwise_writes_lines() {
        let args = StatusArgs { fleet: Some("llama".into()), watch: true, ..StatusArgs::default() };
        for (tty, pictures) in [(true, 3), (false, 1)] {
            let server = Simulated::with([sample::upgrading()]);
            let kept = Kept::default();
            let (fleets, terminal) = (server.fleets(), kept.terminal(tty));
            let watch = run(&args, &fleets, &terminal);
            let change = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let change = json!({"metadata": {"annotations": {"of": "no interest"}}});
                server.0.merge_patch(&Kind::FLEET, "serving", "llama", &change).unwrap();
            };
            // The state found, the change, and one tick of the clock.
            let both = futures::future::join(watch, change);
            assert!(tokio::time::timeout(Duration::from_millis(1500), both).await.is_err());
            let text = kept.text();
            assert_eq!(text.matches("serving/llama").count(), pictures, "{text}");
            assert_eq!(text.contains('\u{1b}'), tty, "{text}");
        }
    }

    #[tokio::test]
    async fn a_watch_on_a_missing_fleet_is_an_error() {
        let args = StatusArgs { fleet: Some("llama".into()), watch: true, ..StatusArgs::default() };
        let fault =
            run(&args, &Simulated::with([]).fleets(), &Kept::default().terminal(false)).await.unwrap_err();
        assert!(fault.to_string().contains("not found"), "{fault}");
    }
}
