//! `kubectl rayfleet status`: all fleets or one, once or on every change.

use std::time::Duration;

use kube::core::DynamicObject;
use rayfleet_cli_kit::table::Table;
use rayfleet_cli_kit::terminal::note;
use rayfleet_cli_kit::{CliError, Format, Terminal};

use crate::args::StatusArgs;
use crate::error;
use crate::fleets::Fleets;
use crate::follow::{Follow, Key, Scope, Set};
use crate::lines::Lines;
use crate::listing::{self, Listing};
use crate::render::fleet;
use crate::render::list::{self, Shape};
use crate::screen;
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
        let text =
            if args.names() { listing::name(&object) } else { picture(&object, args, fleets, terminal) };
        return terminal.result(&object, &text);
    }
    let (mut listing, now) = (Listing::new(args), fleets.now());
    fleets.each(args.all_namespaces, args.filter(), |object| listing.push(&object, now)).await?;
    if listing.is_empty() && terminal.format == Format::Text {
        note(&nothing(args, fleets));
        return Ok(());
    }
    listing.print(terminal)
}

async fn watch(args: &StatusArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let scope = match &args.fleet {
        Some(name) => Scope::One(name),
        None if args.all_namespaces => Scope::All,
        None => Scope::Namespace,
    };
    let mut follow = Follow::matching(fleets, scope, &args.filter());
    let mut lines = Lines::new(args, terminal.color);
    let mut shown = Set::new();
    let draw = terminal.tty && terminal.format == Format::Text && !args.names();
    let mut drawn = false;
    loop {
        // Redrawn every second, because the ages in it change.
        let change = match tokio::time::timeout(TICK, follow.next()).await {
            Ok(change) => change?,
            Err(_) if drawn => {
                terminal.redraw(&frame(args, fleets, &shown, terminal))?;
                continue;
            }
            Err(_) => follow.next().await?,
        };
        if let (Some(name), true) = (&args.fleet, change.is_empty()) {
            return Err(error::gone(name, &fleets.namespace, !shown.is_empty()));
        }
        if draw {
            if !std::mem::replace(&mut drawn, true) {
                terminal.print(CLEAR)?;
            }
            terminal.redraw(&frame(args, fleets, change, terminal))?;
        } else {
            for object in changed(&shown, change) {
                let text = if args.names() {
                    listing::name(object)
                } else {
                    lines.changes(&Fleet::read(object), fleets.now())
                };
                terminal.entry(object, &text)?;
            }
        }
        shown.clone_from(change);
    }
}

/// What fits the terminal.
fn frame(args: &StatusArgs, fleets: &Fleets, now: &Set, terminal: &Terminal) -> String {
    let text = match (&args.fleet, now.values().next()) {
        (Some(_), Some(object)) => picture(object, args, fleets, terminal),
        (None, Some(_)) => table(now.values(), args, fleets).render(terminal.color),
        (_, None) => nothing(args, fleets),
    };
    screen::size().map_or_else(|| text.clone(), |size| screen::cut_screen(&text, size))
}

fn picture(object: &DynamicObject, args: &StatusArgs, fleets: &Fleets, terminal: &Terminal) -> String {
    fleet::picture(&Fleet::read(object), args.wide(), fleets.now(), terminal.color)
}

fn table<'a>(
    objects: impl IntoIterator<Item = &'a DynamicObject>,
    args: &StatusArgs,
    fleets: &Fleets,
) -> Table {
    let shown: Vec<Fleet> = objects.into_iter().map(Fleet::read).collect();
    list::table(&shown, Shape::of(args), fleets.now())
}

fn nothing(args: &StatusArgs, fleets: &Fleets) -> String {
    if args.selector.is_some() || args.field_selector.is_some() {
        "No fleets match the selector.".to_owned()
    } else if args.all_namespaces {
        "No fleets found.".to_owned()
    } else {
        format!("No fleets found in namespace \"{}\"; all namespaces: -A", fleets.namespace)
    }
}

/// Fleets that are new or have changed.
fn changed<'a>(shown: &'a Set, now: &'a Set) -> impl Iterator<Item = &'a DynamicObject> {
    let version =
        |set: &Set, key: &Key| set.get(key).and_then(|object| object.metadata.resource_version.clone());
    now.iter().filter(move |(key, _)| version(shown, key) != version(now, key)).map(|(_, object)| object)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use kube::ResourceExt;
    use rayfleet_cli_kit::testing::Kept;
    use rayfleet_sim_kube::api::Kind;
    use serde_json::{Value, json};

    use super::*;
    use crate::args::Output;
    use crate::sample;
    use crate::simulated::Simulated;

    async fn shown(args: &StatusArgs, server: &Simulated) -> String {
        let kept = Kept::default();
        run(args, &server.fleets(), &kept.terminal(args.format())).await.unwrap();
        kept.out()
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
        assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")));
        assert_eq!(list["items"][0]["status"]["replicas"], 2);
    }

    #[tokio::test]
    async fn selectors_choose_fleets() {
        let fleets = ["a", "b"].map(|team| {
            let mut fleet = sample::upgrading();
            fleet.metadata.name = Some(format!("llama-{team}"));
            fleet.labels_mut().insert("team".into(), team.into());
            fleet
        });
        let server = Simulated::with(fleets);
        let names = |selector: Option<&str>, fields: Option<&str>| StatusArgs {
            output: Some(Output::Name),
            selector: selector.map(str::to_owned),
            field_selector: fields.map(str::to_owned),
            ..StatusArgs::default()
        };
        let (a, b) = (
            "rayclusterfleet.orchestration.aibrix.ai/llama-a\n",
            "rayclusterfleet.orchestration.aibrix.ai/llama-b\n",
        );
        assert_eq!(shown(&names(None, None), &server).await, format!("{a}{b}"));
        assert_eq!(shown(&names(Some("team=b"), None), &server).await, b);
        assert_eq!(shown(&names(None, Some("metadata.name=llama-a")), &server).await, a);
        assert_eq!(shown(&names(Some("team=c"), None), &server).await, "");
        let watch = StatusArgs { watch: true, ..names(Some("team=b"), None) };
        let kept = Kept::default();
        let (fleets, terminal) = (server.fleets(), kept.terminal(Format::Text));
        let watch = run(&watch, &fleets, &terminal);
        assert!(tokio::time::timeout(Duration::from_millis(300), watch).await.is_err());
        assert_eq!(kept.out(), b);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_redraws_a_terminal_and_otherwise_writes_lines() {
        let args = StatusArgs { fleet: Some("llama".into()), watch: true, ..StatusArgs::default() };
        for (tty, pictures) in [(true, 3), (false, 1)] {
            let server = Simulated::with([sample::upgrading()]);
            let kept = Kept::default();
            let (fleets, mut terminal) = (server.fleets(), kept.terminal(Format::Text));
            terminal.tty = tty;
            let watch = run(&args, &fleets, &terminal);
            let change = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let change = json!({"metadata": {"annotations": {"of": "no interest"}}});
                server.0.merge_patch(&Kind::FLEET, "serving", "llama", &change).unwrap();
            };
            // The state found, the change, and one tick of the clock.
            let both = futures::future::join(watch, change);
            assert!(tokio::time::timeout(Duration::from_millis(1500), both).await.is_err());
            let text = kept.out();
            assert_eq!(text.matches("serving/llama").count(), pictures, "{text}");
            assert_eq!(text.contains('\u{1b}'), tty, "{text}");
        }
    }

    #[tokio::test]
    async fn a_watch_on_a_missing_fleet_is_an_error() {
        let args = StatusArgs { fleet: Some("llama".into()), watch: true, ..StatusArgs::default() };
        let fault = run(&args, &Simulated::with([]).fleets(), &Kept::default().terminal(Format::Text))
            .await
            .unwrap_err();
        assert!(fault.to_string().contains("not found"), "{fault}");
    }
}
