//! Test selection for programs whose tests need a cluster: parts of names as for `cargo test`, `--list`,
//! and the environment variable without which all are skipped. Nothing is run here.

use crate::console::line;

const GATE: &str = "RAYFLEET_E2E";

/// What a command line selects.
#[derive(Debug, PartialEq, Eq)]
enum Asked<T> {
    List(Vec<T>),
    Skip(Vec<T>),
    Run(Vec<T>),
}

/// The tests of `all` to run; `None` if they were only to be listed, or are skipped without a cluster.
/// Those that are `by_name_only` run only if a part of their name is given. `command` is the command that
/// brings up a cluster.
pub fn chosen<T>(
    all: Vec<T>,
    name: impl Fn(&T) -> &str,
    by_name_only: impl Fn(&T) -> bool,
    command: &str,
) -> Option<Vec<T>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_open = std::env::var(GATE).as_deref() == Ok("1");
    match asked(all, &name, by_name_only, &args, is_open) {
        Asked::Run(tests) => return Some(tests),
        Asked::List(tests) => {
            for test in &tests {
                line(format_args!("{}: test", name(test)));
            }
        }
        Asked::Skip(tests) => {
            for test in &tests {
                line(format_args!("test {} ... skipped", name(test)));
            }
            line(format_args!("skipped: these tests need a cluster: run {command} (it sets {GATE}=1)"));
            line(format_args!("0 passed, 0 failed, {} skipped", tests.len()));
        }
    }
    None
}

fn asked<T>(
    mut all: Vec<T>,
    name: impl Fn(&T) -> &str,
    by_name_only: impl Fn(&T) -> bool,
    args: &[String],
    is_open: bool,
) -> Asked<T> {
    let parts: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    all.retain(|test| {
        parts.is_empty() && !by_name_only(test) || parts.iter().any(|part| name(test).contains(part.as_str()))
    });
    if args.iter().any(|arg| arg == "--list") {
        Asked::List(all)
    } else if is_open {
        Asked::Run(all)
    } else {
        Asked::Skip(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str], is_open: bool) -> Asked<&'static str> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let all = vec!["scale", "undo", "scale-in-rollout", "soak"];
        asked(all, |name| name, |name| *name == "soak", &args, is_open)
    }

    #[test]
    fn parts_of_names_select_tests() {
        assert_eq!(of(&[], true), Asked::Run(vec!["scale", "undo", "scale-in-rollout"]));
        assert_eq!(of(&["scale"], true), Asked::Run(vec!["scale", "scale-in-rollout"]));
        assert_eq!(of(&["in-r", "und", "--nocapture"], true), Asked::Run(vec!["undo", "scale-in-rollout"]));
        assert_eq!(of(&["no such"], true), Asked::Run(vec![]));
    }

    #[test]
    fn long_tests_run_only_by_name() {
        assert_eq!(of(&["soa"], true), Asked::Run(vec!["soak"]));
        assert_eq!(of(&["scale", "soak"], true), Asked::Run(vec!["scale", "scale-in-rollout", "soak"]));
    }

    #[test]
    fn without_a_cluster_nothing_runs() {
        assert_eq!(of(&["undo"], false), Asked::Skip(vec!["undo"]));
        assert_eq!(of(&["undo", "--list"], false), Asked::List(vec!["undo"]));
        assert_eq!(of(&["undo", "--list"], true), Asked::List(vec!["undo"]));
    }
}
