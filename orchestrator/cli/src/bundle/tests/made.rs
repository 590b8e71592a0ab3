//! What is in a bundle, what is not, and how the making of one ends.

use std::path::Path;
use std::time::Duration;

use rayfleet_cli_kit::Format;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verdict};
use serde_json::Value;

use super::{SECRET, args, cluster, files, fleets, made, opened, passing, printed};
use crate::bundle;
use crate::fleets::Fleets;

struct MayNot(Kind);

impl Interceptor for MayNot {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == self.0 { Verdict::Refuse { code: 403, reason: "Forbidden" } } else { Verdict::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_gets_into_a_bundle() {
    let server = cluster();
    server
        .0
        .create(
            &Kind::SECRET,
            serde_json::json!({"metadata": {"name": "s", "namespace": "serving"}, "data": {"x": "c2VjcmV0LWluLWJhc2U2NA=="}}),
        )
        .unwrap();
    let (_directory, path, done, said) = made("", &passing(&server)).await;
    assert_eq!(done, Ok(()), "{said}");
    let files = files(&path);
    for (name, text) in &files {
        assert!(!text.contains(SECRET), "{name}:\n{text}");
        assert!(!text.contains("c2VjcmV0LWluLWJhc2U2NA") && !text.contains("last-applied"), "{name}");
        // What is somebody else's.
        for other in ["somebody-elses", "private/image", "others-web-0", "of somebody else"] {
            assert!(!text.contains(other), "{name} has {other}");
        }
    }
    let has =
        |part: &str| files.iter().any(|(name, text)| name.contains(part) && text.contains("<redacted>"));
    for part in
        ["objects/v1/serving/pods", "objects/v1/serving/events", "logs/serving", "ray/serving", "job-llama"]
    {
        assert!(has(part), "{part}: {:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
    assert!(files.iter().any(|(name, text)| name == "README.txt" && text.contains("NOT hidden are names")));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_said_and_said_again() {
    let server = cluster();
    let live = fleets(&server, MayNot(Kind::NODE));
    let (_directory, path, done, said) = made("", &live).await;
    let fault = done.unwrap_err();
    assert!(fault.code() == 1 && fault.message.contains("the bundle was written, but"), "{fault}");
    assert!(said.contains("not read: /api/v1/nodes: "), "{said}");
    let cure = fault.cure.as_deref().unwrap_or_default();
    assert!(cure.contains("somebody with the rights") && !cure.contains("--request-timeout"), "{fault}");
    assert!(said.contains("\nwrote ") && said.contains("metrics and dashboards of 2 groups"), "{said}");
    let recorded = opened(&path);
    for line in ["plan llama", "map llama", "diagnose llama"] {
        let (code, out, said) = printed(line, &live).await;
        let (of_bundle, from_bundle, said_of_bundle) = printed(line, &recorded).await;
        assert_eq!((of_bundle, from_bundle, said_of_bundle), (code, out, said), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_too_late_is_no_matter_of_rights() {
    struct Late;
    impl Interceptor for Late {
        fn judge(&self, call: &Call) -> Verdict {
            if call.kind == Kind::NODE { Verdict::LoseBefore } else { Verdict::Pass }
        }
    }
    let (_directory, path, done, said) = made("", &fleets(&cluster(), Late)).await;
    let fault = done.unwrap_err();
    let cure = fault.cure.as_deref().unwrap_or_default();
    assert!(
        path.exists() && cure.contains("--request-timeout") && !cure.contains("rights"),
        "{fault}\n{said}"
    );
}

#[test]
fn one_thing_is_one() {
    assert_eq!(bundle::counted(1, "thing"), "1 thing");
    assert_eq!(bundle::counted(0, "group"), "0 groups");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_without_fleets_makes_no_bundle() {
    let live = Fleets { namespace: "nope".to_owned(), ..passing(&cluster()) };
    let (_directory, path, done, _) = made("", &live).await;
    let fault = done.unwrap_err();
    assert_eq!(fault.to_string(), "error: No fleets found in namespace \"nope\"; all namespaces: -A");
    assert!(fault.code() == 1 && !path.exists());
    // Whether there are any may not be known.
    let live = fleets(&cluster(), MayNot(Kind::FLEET));
    let (_directory, path, done, said) = made("", &Fleets { namespace: "nope".to_owned(), ..live }).await;
    assert!(done.unwrap_err().message.contains("could not be read") && path.exists(), "{said}");
    assert!(said.contains("not read: /apis/orchestration.aibrix.ai"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn more_secrets_than_can_be_hidden_make_no_bundle() {
    let server = cluster();
    for pod in 0..11 {
        let env: Vec<Value> = (0..1_000)
            .map(|number| serde_json::json!({"name": format!("KEY_{number}"), "value": format!("secret-{pod}-{number:04}")}))
            .collect();
        let mut other = super::pod(&format!("llama-more-{pod}"), "llama-bcdfgh-0", "node-a", "10.0.1.1");
        other["spec"]["containers"][0]["env"] = env.into();
        super::put(&server, &Kind::POD, other);
    }
    let (_directory, path, done, _) = made("", &passing(&server)).await;
    let fault = done.unwrap_err();
    assert!(fault.code() == 1 && fault.message.contains("different secrets") && !path.exists(), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_bundle_leaves_no_file() {
    struct Silent;
    impl Interceptor for Silent {
        fn judge(&self, call: &Call) -> Verdict {
            if call.kind == Kind::POD { Verdict::LoseBefore } else { Verdict::Pass }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (server, kept) = (cluster(), Kept::default());
    let (live, args) = (fleets(&server, Silent), args("", directory.path().join("b.zip")));
    let terminal = kept.terminal(Format::Text);
    let run = bundle::run(&args, &live, &terminal);
    assert!(tokio::time::timeout(Duration::from_secs(5), run).await.is_err(), "it waits for the pods");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_exists_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.zip");
    std::fs::write(&path, "precious").unwrap();
    let (server, kept) = (cluster(), Kept::default());
    let fault = bundle::run(&args("", path.clone()), &passing(&server), &kept.terminal(Format::Text)).await;
    let fault = fault.unwrap_err();
    assert!(fault.code() == 2 && fault.message.contains("exists"), "{fault}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = directory.path().join("none/b.zip");
    let fault = bundle::run(&args("", nowhere), &passing(&server), &kept.terminal(Format::Text)).await;
    assert_eq!(fault.unwrap_err().code(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_does_not_exist_makes_no_bundle() {
    let (_directory, path, done, _) = made("none", &passing(&cluster())).await;
    assert!(done.unwrap_err().message.contains("\"none\" not found in namespace \"serving\""));
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn of_long_logs_the_newest_lines_are_kept_and_the_rest_is_told() {
    let (_directory, path, done, said) = made("--max-log-size 60", &passing(&cluster())).await;
    assert_eq!(done, Ok(()), "{said}");
    let files = files(&path);
    let log = |path: &str| {
        files.iter().find(|(name, _)| name.ends_with(path)).map(|(_, text)| text.as_str()).unwrap()
    };
    let head = log("llama-bcdfgh-0-head-x2b4f/ray.log");
    assert!(head.ends_with(" up\n") && !head.contains("ray start"), "{head}");
    let manifest: Value = serde_json::from_str(log("manifest.json")).unwrap();
    let entries = manifest["entries"].as_array().unwrap();
    let cut =
        entries.iter().find(|entry| entry["path"].as_str().unwrap().contains("0-head-x2b4f/log")).unwrap();
    assert!(cut["cut"].as_str().unwrap().contains("bytes are left out"), "{cut}");
    let (_directory, _, done, said) = made("--max-size 500", &passing(&cluster())).await;
    assert_eq!(done, Ok(()), "{said}");
    assert!(said.contains("logs are shortened or empty: more would be beyond --max-size"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn old_lines_are_left_out_of_engines_logs() {
    // The bundle is of ten minutes past; the last line of the engine is of five seconds past.
    let (_directory, path, ..) = made("--since 9m56s", &passing(&cluster())).await;
    let files = files(&path);
    let engine = files.iter().find(|(name, _)| name.ends_with("engine-llama-bcdfgh-0.zxwvtr.2.log")).unwrap();
    assert_eq!(engine.1, "2030-01-01 00:00:05,000\tINFO serving <redacted>\n");
}

#[tokio::test(start_paused = true)]
async fn a_log_is_cut_as_the_kubelet_cuts_it() {
    let (_directory, path, ..) = made("", &passing(&cluster())).await;
    let recorded = opened(&path);
    let (_, out, _) = printed("logs llama llama-bcdfgh-1 --container ray --tail 1", &recorded).await;
    assert!(out.lines().count() == 2 && out.lines().all(|line| line.ends_with(" up")), "{out}");
    let (_, out, _) = printed("logs llama llama-bcdfgh-1 --container ray --since 9m56s", &recorded).await;
    assert_eq!(out.lines().count(), 4, "{out}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_a_bundle() {
    let (_directory, path, ..) = made("", &passing(&cluster())).await;
    let recorded = opened(&path);
    let fault = recorded.merge("llama", &serde_json::json!({"spec": {"paused": true}})).await.unwrap_err();
    assert!(fault.message.contains("it cannot be changed"), "{fault}");
    let names = std::fs::read_dir(Path::new(&path).parent().unwrap()).unwrap().count();
    assert_eq!(names, 1);
}
