//! All commands as one page of Markdown: what each does, its arguments and flags as tables, its examples.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

/// The page's head; what is below is written from the definition.
const TOP: &str = "# Commands of `kubectl rayfleet`

For whoever looks up a flag. What the commands are for, with what they print: [operations.md](operations.md).

Generated from the definition of the command line: do not edit. Write it again with
`RAYFLEET_UPDATE=1 cargo test -p kubectl-rayfleet --test generated`.
";

/// The page.
pub(super) fn page(command: Command) -> String {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut page = String::from(TOP);
    list(&mut page, &command);
    table(
        &mut page,
        "\n## Flags of every command",
        "flag",
        flags(&command).filter(|arg| arg.is_global_set()),
    );
    for inner in shown(&command) {
        section(&mut page, inner);
    }
    page
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set())
}

/// Links to the commands and what they do.
fn list(page: &mut String, command: &Command) {
    page.push_str("\n| command | |\n|---|---|\n");
    for inner in leaves(command) {
        let name = inner.get_bin_name().unwrap_or_else(|| inner.get_name());
        let _ = writeln!(page, "| [`{name}`](#{}) | {} |", name.replace(' ', "-"), about(inner));
    }
}

/// Commands that have none below them.
fn leaves(command: &Command) -> Vec<&Command> {
    shown(command)
        .flat_map(|inner| if inner.has_subcommands() { leaves(inner) } else { vec![inner] })
        .collect()
}

fn section(page: &mut String, command: &Command) {
    if command.has_subcommands() {
        for inner in shown(command) {
            section(page, inner);
        }
        return;
    }
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(page, "\n## {name}\n\n{}.\n\n    {}\n", about(command), usage.replace('\n', "\n    "));
    table(page, "", "argument", command.get_positionals());
    for heading in headings(command) {
        let title = heading.map_or_else(String::new, |heading| format!("\n{heading}:"));
        let of = |arg: &&Arg| !arg.is_global_set() && arg.get_help_heading() == heading;
        table(page, &title, "flag", flags(command).filter(of));
    }
    if let Some(help) = command.get_after_help() {
        after(page, &help.to_string());
    }
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional())
}

/// Headings of the flags in their order, first that of those without one.
fn headings(command: &Command) -> Vec<Option<&str>> {
    let mut all = vec![None];
    for arg in flags(command) {
        let heading = arg.get_help_heading();
        if !all.contains(&heading) {
            all.push(heading);
        }
    }
    all
}

/// A table of arguments or flags, if there are any.
fn table<'a>(page: &mut String, title: &str, of: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut args = args.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").peekable();
    if args.peek().is_none() {
        return;
    }
    if !title.is_empty() {
        let _ = writeln!(page, "{title}");
    }
    let _ = write!(page, "\n| {of} | |\n|---|---|\n");
    for arg in args {
        let _ = writeln!(page, "| `{}` | {} |", cell(&name(arg)), meaning(arg));
    }
}

/// `-o`, `--output FORMAT`, or `FLEET`.
fn name(arg: &Arg) -> String {
    let value = arg.get_value_names().map(|names| names.join(" ")).filter(|_| takes_value(arg));
    let dashed =
        [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
    let dashed: Vec<String> = dashed.into_iter().flatten().collect();
    let words: Vec<String> = [Some(dashed.join(", ")), value].into_iter().flatten().collect();
    words.join(" ").trim().to_owned()
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Help, values and default.
fn meaning(arg: &Arg) -> String {
    let mut text = cell(&arg.get_help().map(ToString::to_string).unwrap_or_default());
    if takes_value(arg) {
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            let _ = write!(text, ": {}", values.join(", "));
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        if !defaults.is_empty() {
            let _ = write!(text, " (default {})", defaults.join(", "));
        }
    }
    text
}

/// What stands behind the flags: text, and the examples as code.
fn after(page: &mut String, help: &str) {
    let (text, examples) = help.split_once("Examples:\n").unwrap_or((help, ""));
    if !text.trim().is_empty() {
        let _ = write!(page, "\n{}\n", text.trim_end());
    }
    if !examples.is_empty() {
        page.push('\n');
        for line in examples.lines() {
            let _ = writeln!(page, "    {}", line.trim_start_matches("  "));
        }
    }
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Text that stays in one cell.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
