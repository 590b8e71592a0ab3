//! `kubectl rayfleet template`: a manifest for a model and a GPU. Without `--from-cluster` no cluster is asked.
//!
//! `subject` finds the model, `hardware` the GPUs (`cluster` those of `--from-cluster`), `shape` the shape; `profile`
//! reads the `site`, which `site_check` and `grammar` check; `values` puts them together, `render` and `beside` write them as
//! text, `check` reads that back, and `files` writes it to a directory. What a model needs is reckoned by
//! `rayfleet-templates`.

pub(crate) mod args;
mod bandwidth;
mod beside;
mod check;
mod cluster;
mod engine_args;
mod files;
mod grammar;
mod hardware;
mod list;
mod near;
mod profile;
mod render;
mod resources;
mod shape;
mod site;
mod site_check;
mod subject;
#[cfg(test)]
mod tests;
mod values;
mod yaml;

use std::future::Future;

use rayfleet_cli_kit::table::one_line;
use rayfleet_cli_kit::{CliError, Format, Terminal};
use rayfleet_templates::explain::count;
use rayfleet_templates::{Catalogue, Fit, explain};
use serde_json::{Value, json};

use self::args::{FleetFlags, TemplateArgs};
use self::files::Document;
use self::site::Site;
use self::subject::Subject;
use self::values::Values;
use crate::fleets::Fleets;
use crate::global::Global;

/// Runs the command. `words`: the command line after the program's name, which the manifest names as its source. `fleets`:
/// the API server, which is asked with `--from-cluster` only.
pub(crate) async fn run(
    args: &TemplateArgs,
    global: &Global,
    words: &[String],
    terminal: &Terminal,
    fleets: impl Future<Output = Result<Fleets, CliError>>,
) -> Result<(), CliError> {
    if global.context.is_some() && !args.asked.from_cluster {
        // Silently ignored it would look like the length of a context.
        return Err(CliError::usage(
            "--context: a context of the kubeconfig has no part in a manifest",
            "leave it out, or read GPUs with --from-cluster; the most tokens of a sequence are --max-model-len",
        ));
    }
    let catalogue = Catalogue::embedded().map_err(|error| CliError::plain(error.to_string()))?;
    if args.model.is_none() && args.asked.config.is_none() {
        return match (&args.asked.gpu, args.asked.from_cluster) {
            (None, false) => list::print(&catalogue, terminal),
            (gpu, _) => Err(CliError::usage(
                format!("{}: for which model?", if gpu.is_some() { "--gpu" } else { "--from-cluster" }),
                "name one, or give its config.json with --config; list models and GPUs: kubectl rayfleet template",
            )),
        };
    }
    let named = args.asked.gpu.as_deref().map(|name| subject::gpu(&catalogue, name)).transpose()?;
    let subject = Subject::find(&catalogue, args.model.as_deref(), &args.asked)?;
    let mut site = Site::read(args.fleet.profile.as_deref(), &args.fleet.set)?;
    let (gpu, choice) = if args.asked.from_cluster {
        let nodes = cluster::nodes(&fleets.await?, &catalogue, &site).await?;
        let pools = cluster::pools(nodes);
        let (picked, choice) = hardware::of_cluster(&pools, (&catalogue, named), args, &subject, terminal)?;
        hardware::select(&mut site, &picked);
        (picked.gpu, choice)
    } else {
        hardware::named(named, args, &subject)?
    };
    if args.out.explain {
        let groups = choice.chosen.as_ref().and_then(|fit| groups(fit, &args.fleet)).unwrap_or_default();
        terminal.result(&choice, &(explain(&subject.title, &choice) + &groups))?;
        return shape::fit(&subject, &choice).map(|_| ());
    }
    let fit = shape::fit(&subject, &choice)?;
    let values = Values::new(
        (&subject, gpu, &choice, fit),
        &args.fleet,
        global.namespace.as_deref(),
        site,
        command(words),
    )?;
    let documents = documents(&values);
    let text = documents.iter().map(|document| document.text.as_str()).collect::<Vec<_>>().join("---\n");
    let read = check::documents(&text)?;
    match &args.out.output_dir {
        Some(directory) => terminal.print(&files::write(directory, documents, args.out.force)?),
        None if terminal.format == Format::Json => terminal.result(&one(read), ""),
        None => terminal.print(&text),
    }
}

/// What all groups need, and an upgrade by the strategy that is printed; nothing of one group that is replaced in place.
fn groups(fit: &Fit, flags: &FleetFlags) -> Option<String> {
    let (replicas, gpus) = (u64::from(flags.replicas), u64::from(fit.gpus));
    if replicas == 1 && flags.max_surge == 0 {
        return None;
    }
    let upgrade = match u64::from(flags.max_surge).min(replicas).saturating_mul(gpus) {
        0 => "no more: groups are replaced in place".to_owned(),
        more => format!("{more} more, or replaces one group in place"),
    };
    Some(format!(
        "\n{}: {}, {}; an upgrade needs {upgrade}\n",
        count(replicas, "group"),
        count(replicas.saturating_mul(fit.shape.nodes.into()), "node"),
        count(replicas.saturating_mul(gpus), "GPU"),
    ))
}

/// The fleet, and what was asked for beside it.
fn documents(values: &Values) -> Vec<Document> {
    let beside = [("claim.yaml", beside::claim(values)), ("route.yaml", beside::route(values))];
    let beside = beside.into_iter().filter_map(|(file, text)| Some(Document { file, text: text? }));
    std::iter::once(Document { file: "fleet.yaml", text: render::fleet(values) }).chain(beside).collect()
}

/// One object for programs.
fn one(mut documents: Vec<Value>) -> Value {
    match documents.pop() {
        Some(only) if documents.is_empty() => only,
        last => {
            documents.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "items": documents})
        }
    }
}

/// The command line as a shell takes it, in one line.
fn command(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            return word.clone();
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    };
    let words: Vec<String> = words.iter().map(quote).collect();
    one_line(&format!("kubectl rayfleet {}", words.join(" ")))
}
