//! What a script did beside its engine, once it is no longer run: which of it has no effect that anybody could miss, which goes elsewhere,
//! and which is lost and has to be said.

use serde_json::{Value, json};

use super::edit::put;
use super::log::Log;
use crate::launch::{self, Launch, START};
use crate::shell::{self, Command, End, Word};

/// Words before a command that say when it is run. What follows them is a command of its own.
const KEYWORDS: [&str; 13] =
    ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "{", "}", "time"];
/// Those that begin and end what is run under a condition, or more than once.
const OPENS: [&str; 5] = ["if", "while", "until", "for", "{"];
const CLOSES: [&str; 3] = ["fi", "done", "}"];
/// Commands that only wait, report or set a limit that KubeRay sets too, as long as they write no file.
const IDLE: [&str; 17] = [
    "ulimit", "echo", "printf", "for", "sleep", "curl", "wait", "tail", "grep", "test", "[", "[[", "set",
    "true", ":", "break", "continue",
];
/// Short options of curl that write files or send something, and those that have a value (curl 8, curl.1).
const CURL_ACTS: &str = "oOcDdFTXK";
const CURL_HAS_VALUE: &str = "AbCeEhHmPQrtuUwxyYz";
/// Beginnings of its long ones that do.
const CURL_ACTS_LONG: [&str; 12] = [
    "--output",
    "--remote-name",
    "--cookie-jar",
    "--dump-header",
    "--data",
    "--form",
    "--json",
    "--upload-file",
    "--request",
    "--config",
    "--trace",
    "--url-query",
];
/// Arguments of `ray start` that become `rayStartParams`.
const PARAMETERS: [&str; 12] = [
    "dashboard-agent-listen-port",
    "dashboard-host",
    "dashboard-port",
    "labels",
    "max-worker-port",
    "memory",
    "metrics-export-port",
    "min-worker-port",
    "num-cpus",
    "num-gpus",
    "object-store-memory",
    "resources",
];
/// Arguments of `ray start` that KubeRay gives by itself.
const KUBERAYS: [&str; 5] = ["head", "block", "address", "port", "node-ip-address"];

/// Variables with their values.
pub(super) type Variables = [(String, String)];

/// Variables that a script exports before its engine, whatever happens: for the engine's environment.
pub(super) fn exported(launch: &Launch, engine: usize) -> Vec<(String, String)> {
    let (mut depth, mut exported) = (0_usize, Vec::new());
    for (index, command) in launch.commands.iter().enumerate().take(engine) {
        let keywords = command.words.iter().map(|word| word.text.as_str());
        for word in keywords.take_while(|word| KEYWORDS.contains(word) || *word == "for") {
            depth = depth.saturating_add(usize::from(OPENS.contains(&word)));
            depth = depth.saturating_sub(usize::from(CLOSES.contains(&word)));
        }
        let before = index.checked_sub(1).and_then(|before| launch.commands.get(before));
        // The engine itself is only started if what is before it went well.
        let mut list = launch.commands.iter().take(engine).skip(index);
        let with_engine = list.all(|command| command.end == End::And);
        let always = match before.map(|before| before.end) {
            Some(End::And) => with_engine,
            Some(End::Or | End::Pipe) => false,
            Some(End::Sequence | End::Background) | None => true,
        };
        // In a pipe or the background it is another shell's.
        let here = command.end != End::Pipe && !shell::in_background(&launch.commands, index);
        let here = here || with_engine;
        if depth == 0 && always && here && is_export(&command.words) {
            exported.extend(assignments(&command.words));
        }
    }
    exported
}

/// An `export` whose values are all fixed.
fn is_export(words: &[Word]) -> bool {
    words.first().is_some_and(|word| word.text == "export") && words.iter().all(|word| word.literal)
}

fn assignments(words: &[Word]) -> impl Iterator<Item = (String, String)> {
    let pairs = words.iter().filter_map(|word| word.text.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn line(words: &[Word]) -> String {
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    rayfleet_text::cut(&words.join(" "), 120)
}

/// One step of a script that is no longer run; `kept`: variables that the engine has all the same.
pub(super) fn step(command: &Command, kept: &Variables, field: &str, group: &mut Value, log: &mut Log<'_>) {
    if launch::starts_ray(command) {
        ray_start(command, field, group, log);
        return;
    }
    let keyword = |word: &Word| KEYWORDS.contains(&word.text.as_str());
    let from = command.words.iter().position(|word| !keyword(word)).unwrap_or(command.words.len());
    let words = command.words.get(from..).unwrap_or_default();
    if is_export(words) && !command.writes {
        let lost = assignments(words).filter(|variable| !kept.contains(variable));
        let lost: Vec<String> = lost.map(|(name, _)| name).collect();
        if !lost.is_empty() {
            let what = format!("{} of `export` is no longer set", lost.join(", "));
            let cure = "write it into the env of the container, or into spec.model.engine.env for all ranks";
            log.dropped(field, &what, cure);
        }
    } else if !is_idle(words) || command.writes {
        // A keyword with a file behind it, or a file alone.
        let words = if words.is_empty() { &command.words } else { words };
        let line = if words.is_empty() { ">".to_owned() } else { line(words) };
        let what = format!(
            "`{line}`{} is no longer run",
            if command.writes { ", which writes a file," } else { "" }
        );
        log.dropped(field, &what, "build it into the image, or make it an initContainer");
    }
}

/// Whether nobody misses a command, as long as it writes no file.
fn is_idle(words: &[Word]) -> bool {
    let Some((first, arguments)) = words.split_first() else { return true };
    let runs_more = |word: &Word| !word.literal && (word.text.contains("$(") || word.text.contains('`'));
    let reports = first.text == "ray"
        && arguments
            .first()
            .is_some_and(|word| ["status", "health-check", "list"].contains(&word.text.as_str()));
    (IDLE.contains(&first.text.as_str()) || reports)
        && !words.iter().any(runs_more)
        && !(first.text == "curl" && curl_acts(arguments))
}

/// Whether curl does more with these arguments than ask and show.
fn curl_acts(arguments: &[Word]) -> bool {
    let mut words = arguments.iter().map(|word| word.text.as_str()).peekable();
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            let (option, inline) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let acts = CURL_ACTS_LONG.iter().any(|begin| option.starts_with(begin));
            if acts
                && !(option == "--output" && inline.or_else(|| words.peek().copied()) == Some("/dev/null"))
            {
                return true;
            }
        } else if let Some(letters) = word.strip_prefix('-') {
            let Some(at) = letters.find(|c| CURL_ACTS.contains(c) || CURL_HAS_VALUE.contains(c)) else {
                continue;
            };
            let (letter, inline) = letters.split_at(at.saturating_add(1));
            let value = if inline.is_empty() { words.next() } else { Some(inline) };
            let acts = letter.ends_with(|c| CURL_ACTS.contains(c));
            if acts && !(letter.ends_with('o') && value == Some("/dev/null")) {
                return true;
            }
        }
    }
    false
}

/// What a command gave to Ray's start, which is KubeRay's now: its arguments become parameters where there are such.
pub(super) fn ray_start(command: &Command, field: &str, group: &mut Value, log: &mut Log<'_>) {
    let words: Vec<&str> = command.words.iter().map(|word| word.text.as_str()).collect();
    let by_kuberay = command.names(START);
    let further = |word: &&str| {
        let rest = word.replace(&format!("${{{START}}}"), "").replace(&format!("${START}"), "");
        !rest.trim().is_empty() && !["eval", "exec", "nohup"].contains(word) && !KEYWORDS.contains(word)
    };
    let mut before =
        words.iter().take_while(|word| word.contains('=') || KEYWORDS.contains(word) || **word == "exec");
    let prefixed = !by_kuberay && before.any(|word| word.contains('='));
    if prefixed || (by_kuberay && words.iter().any(further)) {
        let what = format!("what `{}` adds to Ray's start is gone", line(&command.words));
        let cure = "write it into rayStartParams or the container's env if it is needed; KubeRay gives the pod's address by itself";
        log.dropped(field, &what, cure);
    }
    if command.writes {
        let what = "the file with the output of Ray's start is no longer written";
        log.dropped(field, what, "read the container's log");
    }
    if !by_kuberay {
        parameters(&words, field, group, log);
    }
}

/// The arguments of a `ray start`, or of vLLM's script, which passes them on, as KubeRay's parameters.
fn parameters(words: &[&str], field: &str, group: &mut Value, log: &mut Log<'_>) {
    // Behind `ray start`, or behind what vLLM's script is called as.
    let begins = |word: &&&str| !["start", "leader", "worker"].contains(*word);
    let mut words = words.iter().skip_while(begins).skip(1).peekable();
    while let Some(word) = words.next() {
        let (option, inline) =
            word.split_once('=').map_or((*word, None), |(option, value)| (option, Some(value)));
        let name = option.trim_start_matches('-');
        let value = inline.or_else(|| words.next_if(|next| !next.starts_with('-')).copied());
        if KUBERAYS.contains(&name) || name.starts_with("ray_") {
            continue;
        }
        match value {
            Some(value) if PARAMETERS.contains(&name) && group["rayStartParams"][name].is_null() => {
                put(group, &["rayStartParams", name], json!(value));
            }
            Some(value) if group["rayStartParams"][name] == value => {}
            _ => log.dropped(
                field,
                &format!("`{word}` of ray start is gone"),
                "write it into rayStartParams if it is needed",
            ),
        }
    }
}
