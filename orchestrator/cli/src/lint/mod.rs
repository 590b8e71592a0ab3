//! `lint` and `migrate`: files in, findings or manifests out. No cluster is asked. What is found, and what a manifest becomes, is
//! `rayfleet-lint`'s business.

mod args;

use std::path::Path;

use rayfleet_cli_kit::table::one_line;
use rayfleet_cli_kit::{CliError, Terminal, input};
use rayfleet_lint::migrate::Options;
use rayfleet_lint::sarif::sarif;
use rayfleet_lint::text::text;
use rayfleet_lint::{Finding, LARGEST, Unreadable, exit_code};
use serde::Serialize;

use self::args::LintOutput;
pub(crate) use self::args::{LintArgs, MigrateArgs};

const FILE: &str = "give the file of a manifest, YAML or JSON; - is standard input";

const HELM: &str = "if it is a template of Helm: helm template . | kubectl rayfleet lint -";

/// The findings of one file.
#[derive(Serialize)]
struct Linted {
    file: String,
    findings: Vec<Finding>,
}

/// Lints files. Those that can be read are linted, whatever the others are; the exit code is the worst of all.
pub(crate) fn lint(args: &LintArgs, terminal: &Terminal) -> Result<(), CliError> {
    let (mut linted, mut unread) = (Vec::new(), Vec::new());
    let files = args.all();
    let contents: Vec<_> = files.iter().map(|file| read(file)).collect();
    let bytes: Vec<&[u8]> = contents.iter().flatten().map(Vec::as_slice).collect();
    let mut found = rayfleet_lint::lint_all(&bytes).into_iter();
    for (file, content) in files.into_iter().zip(contents) {
        let found = match content {
            Ok(bytes) => found.next().map(|found| found.map_err(|error| unreadable(file, &bytes, &error))),
            Err(error) => Some(Err(error)),
        };
        match found {
            Some(Ok(findings)) => linted.push((file, Linted { file: named(file), findings })),
            Some(Err(error)) => unread.push(error),
            None => {}
        }
    }
    if args.output == LintOutput::Sarif {
        let paths: Vec<String> = linted.iter().map(|(file, _)| file.display().to_string()).collect();
        let files =
            paths.iter().zip(&linted).map(|(path, (_, one))| (path.as_str(), one.findings.as_slice()));
        let unread: Vec<String> = unread.iter().map(|error| error.message.clone()).collect();
        terminal.result(&sarif(&files.collect::<Vec<_>>(), &unread), "")?;
    } else {
        let words: String = linted.iter().map(|(_, one)| text(&one.file, &one.findings)).collect();
        terminal.result(&linted.iter().map(|(_, one)| one).collect::<Vec<_>>(), &words)?;
    }
    let last = unread.pop();
    for error in unread {
        terminal.fault(&error);
    }
    if let Some(error) = last {
        return Err(error);
    }
    let fails = |one: &Linted| args.fail_on.severity().is_some_and(|from| exit_code(&one.findings, from) > 0);
    // They are said above.
    if linted.iter().any(|(_, one)| fails(one)) { Err(CliError::said()) } else { Ok(()) }
}

/// Writes what a manifest becomes to standard output, and what was done to standard error.
pub(crate) fn migrate(args: &MigrateArgs, terminal: &Terminal) -> Result<(), CliError> {
    let options = Options { split_tensor: args.split_tensor };
    let file = args.manifest();
    let bytes = read(file)?;
    let migrated =
        rayfleet_lint::migrate(&bytes, options).map_err(|error| unreadable(file, &bytes, &error))?;
    let yaml =
        migrated.yaml().map_err(|error| CliError::plain(format!("cannot write the result: {error}")))?;
    terminal.print(&yaml)?;
    terminal.progress(text(&shown(file), &migrated.findings).trim_end());
    if exit_code(&migrated.findings, rayfleet_lint::Severity::Error) > 0 {
        Err(CliError::said())
    } else {
        Ok(())
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    if file.is_dir() {
        let what = format!("cannot read {}: it is a directory", shown(file));
        return Err(CliError::usage(what, format!("name its files: {}/*.yaml", shown(file))));
    }
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    input::bytes(file, most)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", shown(file)), FILE))
}

fn unreadable(file: &Path, bytes: &[u8], error: &Unreadable) -> CliError {
    let at = error.at.map(|at| format!(":{at}")).unwrap_or_default();
    // A template of a chart is YAML only once Helm has filled it in.
    let cure = if bytes.windows(2).any(|pair| pair == b"{{") { HELM } else { FILE };
    CliError::usage(format!("{}{at}: {}", shown(file), error.problem), cure)
}

/// A file as documents name it.
fn named(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

/// The same on one line of a terminal: names of files are of others, too.
fn shown(file: &Path) -> String {
    one_line(&named(file))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rayfleet_cli_kit::testing::Kept;
    use rayfleet_cli_kit::{Format, Kind};
    use serde_json::Value;

    use super::args::FailOn;
    use super::*;

    const TWO_NODES: &str = include_str!("../../../lint/tests/corpus/aibrix-two-nodes.yaml");
    const NO_ENGINE: &str = include_str!("../../../lint/tests/corpus/aibrix-no-engine.yaml");
    const CLEAN: &str = include_str!("../../../../examples/llama-405b.yaml");
    const WARNED: &str = include_str!("../../../../examples/aibrix-compatible.yaml");

    /// A file of its own for each test.
    fn file(name: &str, text: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("rayfleet-lint-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    fn linted(files: Vec<PathBuf>, fail_on: FailOn, output: LintOutput) -> (u8, String, String) {
        let kept = Kept::default();
        let result =
            lint(&LintArgs { files, filename: Vec::new(), fail_on, output }, &kept.terminal(output.format()));
        (result.err().map_or(0, |error| error.code()), kept.out(), kept.progress())
    }

    #[test]
    fn the_exit_code_follows_the_severity_that_fails() {
        let (clean, warned) = (file("clean.yaml", CLEAN), file("warned.yaml", WARNED));
        let bad = file("bad.yaml", "apiVersion: v1\nkind: Service\nkind: Service\nmetadata: {name: a}\n");
        let code = |file: &PathBuf, from| linted(vec![file.clone()], from, LintOutput::Text).0;
        let codes =
            |file| [FailOn::Error, FailOn::Warning, FailOn::Note, FailOn::Never].map(|from| code(file, from));
        assert_eq!(codes(&clean), [0, 0, 0, 0]);
        assert_eq!(codes(&warned), [0, 1, 1, 0]);
        assert_eq!(codes(&bad), [1, 1, 1, 0]);
        let (code, out, progress) = linted(vec![bad, clean], FailOn::Error, LintOutput::Text);
        assert_eq!((code, progress.as_str()), (1, ""), "the result has said it");
        assert!(
            out.contains("bad.yaml:3:1: error[duplicate-key]")
                && out.ends_with("clean.yaml: nothing found\n"),
            "{out}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_hides_no_other() {
        let files =
            vec![file("none.yaml", "a: [b"), file("two.yaml", TWO_NODES), PathBuf::from("/no/such/file")];
        let kept = Kept::default();
        let args = LintArgs { files, filename: Vec::new(), fail_on: FailOn::Never, output: LintOutput::Json };
        let error = lint(&args, &kept.terminal(Format::Json)).unwrap_err();
        assert!(
            error.kind == Kind::Usage && error.message.starts_with("cannot read /no/such/file: "),
            "{error}"
        );
        assert!(kept.progress().contains("none.yaml:1:"), "{}", kept.progress());
        let document: Value = serde_json::from_str(&kept.out()).unwrap();
        let finding = &document[0]["findings"][0];
        assert!(
            document[0]["file"].as_str().unwrap().ends_with("two.yaml") && finding["rule"].is_string(),
            "{document}"
        );
    }

    #[test]
    fn a_service_of_one_file_is_held_against_the_fleet_of_another() {
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {model.aibrix.ai/name: coder}, ports: [{port: 80}]}\n";
        let files = vec![file("fleet.yaml", TWO_NODES), file("service.yaml", service)];
        let (code, out, _) = linted(files, FailOn::Error, LintOutput::Text);
        assert!(code == 1 && out.contains("service.yaml:4:8: error[service-selects-workers]"), "{out}");
    }

    #[test]
    fn a_file_that_cannot_be_used_says_what_to_give_instead() {
        let said = |files: Vec<PathBuf>| {
            let kept = Kept::default();
            let args =
                LintArgs { files, filename: Vec::new(), fail_on: FailOn::Never, output: LintOutput::Sarif };
            let error = lint(&args, &kept.terminal(Format::Json)).unwrap_err();
            let log: Value = serde_json::from_str(&kept.out()).unwrap();
            let invocation = &log["runs"][0]["invocations"][0];
            assert_eq!(invocation["executionSuccessful"], false);
            let notification = &invocation["toolExecutionNotifications"][0]["message"]["text"];
            assert_eq!(notification, &Value::from(error.message.clone()));
            error
        };
        let chart = said(vec![file("chart.yaml", "a: {{ .Values.a }}\n")]);
        assert!(chart.cure.unwrap().contains("helm template"));
        let directory = said(vec![std::env::temp_dir()]);
        assert!(
            directory.message.ends_with("it is a directory") && directory.cure.unwrap().ends_with("/*.yaml")
        );
        let odd = said(vec![PathBuf::from("/no/such\u{1b}[2K\r\nfile")]);
        assert!(odd.message.starts_with("cannot read /no/such [2K file: "), "{odd}");
        let large = said(vec![file("large.yaml", &" ".repeat(LARGEST + 1))]);
        assert!(large.message.contains("4194304 bytes"), "{large}");
    }

    #[test]
    fn sarif_has_the_findings_of_all_files() {
        let files = vec![file("one.yaml", WARNED), file("other.yaml", TWO_NODES)];
        let (code, out, _) = linted(files, FailOn::Never, LintOutput::Sarif);
        let log: Value = serde_json::from_str(&out).unwrap();
        let of = |name: &str| {
            let results = log["runs"][0]["results"].as_array().unwrap();
            let location = |result: &Value| {
                result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].to_string()
            };
            results.iter().filter(|result| location(result).contains(name)).count()
        };
        assert!(code == 0 && of("one.yaml") > 0 && of("other.yaml") > 0, "{out}");
    }

    #[test]
    fn a_migrated_manifest_goes_to_standard_output_and_what_was_done_to_standard_error() {
        let migrated = |text: &str| {
            let kept = Kept::default();
            let args =
                MigrateArgs { file: None, filename: Some(file("migrated.yaml", text)), split_tensor: true };
            (migrate(&args, &kept.terminal(Format::Text)), kept.out(), kept.progress())
        };
        let (result, out, progress) = migrated(TWO_NODES);
        assert_eq!(result, Ok(()));
        assert!(out.contains("\n  model:\n") && out.starts_with("# "), "{out}");
        assert!(progress.contains("[changed]: RayClusterFleet "), "{progress}");
        let again = file("again.yaml", &out);
        let (code, out, _) = linted(vec![again], FailOn::Error, LintOutput::Text);
        assert_eq!(code, 0, "{out}");
        let (result, out, progress) = migrated(NO_ENGINE);
        assert!(result.is_ok() && out.contains("kind: RayClusterFleet"), "{progress}");
        assert_eq!(migrated("a: [b").0.unwrap_err().kind, Kind::Usage);
    }
}
