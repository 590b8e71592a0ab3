//! `kubectl rayfleet support-bundle`, and a bundle in place of the cluster (`--from`).
//!
//! `gather` reads the cluster, `redact` hides what is secret, `pack` writes; `manifest` says what is in a bundle. `open` reads a bundle,
//! which may come from a stranger, and `replay` answers calls from it, by the selectors of `select`; `choose` says for which namespaces.
//! `interrupt` ends a run without a file.

pub(crate) mod args;
mod choose;
mod gather;
mod interrupt;
mod manifest;
mod open;
mod pack;
mod redact;
pub(crate) mod replay;
mod select;
mod tail;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rayfleet_cli_kit::{CliError, Terminal, age, clock};

use self::args::BundleArgs;
pub(crate) use self::choose::choose;
use self::gather::Bounds;
use self::interrupt::interrupted;
use self::manifest::{Fault, Manifest, Scope};
use self::open::Bundle;
use self::pack::Pack;
use crate::fleets::Fleets;

/// Most lines that are asked of one log.
const LINES: u64 = 50_000;
/// Missing things that are named one by one.
const NAMED: usize = 10;

/// Writes a bundle.
pub(crate) async fn run(args: &BundleArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if to_stdout && terminal.tty {
        return Err(CliError::usage(
            "-o -: a zip is nothing for a terminal",
            "redirect it to a file, or give one with -o",
        ));
    }
    let path = args.output.clone().unwrap_or_else(|| default_name(args, fleets));
    let directory = match path.parent().filter(|_| !to_stdout) {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => std::env::temp_dir(),
    };
    if !to_stdout && path.exists() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(pack::unwritable(&path, &exists));
    }
    // Before there is a file to leave.
    let interrupted =
        interrupted().map_err(|error| CliError::plain(format!("signals cannot be handled: {error}")))?;
    let pack = Pack::begin(&directory, args.max_size).map_err(|error| pack::unwritable(&path, &error))?;
    // Whatever interrupts it, the unfinished file goes with the pack.
    let (manifest, file) = tokio::select! {
        written = Box::pin(write(args, fleets, pack, terminal)) => written?,
        () = interrupted => return Err(CliError::plain("interrupted: no bundle was written")),
    };
    if to_stdout {
        terminal.copy(&mut { file })?;
    } else {
        let size = file.as_file().metadata().map(|file| file.len()).unwrap_or_default();
        pack::name(file, &path)?;
        terminal.print(&format!("{}\n", path.display()))?;
        terminal.progress(&format!("wrote {} KiB", size.div_ceil(1 << 10)));
    }
    report(&manifest, terminal)
}

async fn write(
    args: &BundleArgs,
    fleets: &Fleets,
    mut pack: Pack,
    terminal: &Terminal,
) -> Result<(Manifest, tempfile::NamedTempFile), CliError> {
    let scope = Scope {
        fleet: args.fleet.clone(),
        namespace: (!args.all_namespaces).then(|| fleets.namespace.clone()),
        default_namespace: fleets.namespace.clone(),
    };
    let bounds = Bounds {
        bytes: usize::try_from(args.max_log_size.min(args.max_size)).unwrap_or(usize::MAX),
        lines: LINES,
        since_seconds: args.since.map(|since| since.as_secs()),
    };
    let mut manifest = Box::pin(gather::gather(scope, bounds, fleets, &mut pack, terminal)).await?;
    if pack.cut() > 0 {
        let cut = pack.cut();
        let (logs, are) = (counted(cut, "log"), if cut == 1 { "is" } else { "are" });
        manifest.left_out.push(format!("{logs} {are} shortened or empty: more would be beyond --max-size"));
    }
    pack.end(manifest).map_err(|error| CliError::plain(format!("the bundle cannot be written: {error}")))
}

/// Says what is missing, by the exit code too.
fn report(manifest: &Manifest, terminal: &Terminal) -> Result<(), CliError> {
    manifest.left_out.iter().for_each(|what| terminal.progress(&format!("note: {what}")));
    let faults = manifest.entries.iter().filter(|entry| entry.fault.is_some());
    let missing: Vec<String> = faults.filter_map(manifest::Entry::missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for missing in missing.iter().take(NAMED) {
        terminal.progress(&format!("not read: {missing}"));
    }
    if let Some(more) = missing.len().checked_sub(NAMED).filter(|more| *more > 0) {
        terminal.progress(&format!("and {more} more: see manifest.json in the bundle"));
    }
    let missing = counted(missing.len(), "thing");
    let faults = manifest.entries.iter().filter_map(|entry| entry.fault.as_ref());
    Err(CliError::failed(format!("the bundle was written, but {missing} could not be read"), cure(faults)))
}

/// What helps, by what went wrong.
fn cure<'f>(mut faults: impl Iterator<Item = &'f Fault> + Clone) -> String {
    let mut cures = Vec::new();
    if faults.clone().any(Fault::is_refusal) {
        cures.push("ask somebody with the rights to make it");
    }
    if faults.any(Fault::is_late) {
        cures.push("give it longer with --request-timeout");
    }
    cures.push("send it as it is: it says what is missing");
    cures.join(", or ")
}

/// A number of things.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn default_name(args: &BundleArgs, fleets: &Fleets) -> PathBuf {
    let of = match &args.fleet {
        Some(fleet) => format!("{}-{fleet}", fleets.namespace),
        None if args.all_namespaces => "all".to_owned(),
        None => fleets.namespace.clone(),
    };
    let plain: String = of.chars().filter(|it| it.is_ascii_alphanumeric() || "-.".contains(*it)).collect();
    format!("rayfleet-{plain}-{}.zip", clock::now().strftime("%Y%m%dT%H%M%SZ")).into()
}

/// A bundle in place of a cluster, with the namespace that is meant.
pub(crate) fn open(file: &Path, namespace: Option<&str>, timeout: Duration) -> Result<Fleets, CliError> {
    let bundle = Arc::new(Bundle::open(file)?);
    let Manifest { scope, at, made_by, .. } = &bundle.manifest;
    let namespace = namespace
        .map(str::to_owned)
        .or_else(|| scope.namespace.clone())
        .unwrap_or_else(|| scope.default_namespace.clone());
    let clean = |text: &str| rayfleet_cli_kit::table::one_line(&rayfleet_text::cut(text, 200));
    let server = format!(
        "the bundle {} of {}, made {at:.0} ({} ago) by {}",
        file.display(),
        clean(&scope.words()),
        age::since(Some(*at), clock::now()),
        clean(made_by)
    );
    Ok(Fleets {
        client: replay::client(&bundle, &namespace),
        server,
        timeout,
        recorded: true,
        moment: Some(*at),
        namespace,
    })
}
