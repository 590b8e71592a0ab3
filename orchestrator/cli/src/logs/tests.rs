//! The command on the simulated API server, which has no logs: `Kubelets` answers for pods/log and for the dashboards' proxy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_cli_kit::{CliError, Format};
use rayfleet_sim_kube::api::{Kind, Passthrough};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::args::tests::parse;
use super::facts::tests::pod;
use super::run;
use crate::fleets::Fleets;
use crate::sample;
use crate::simulated::{self, Simulated};

/// Pieces of one answer; then it stays open, or ends.
#[derive(Clone)]
struct Answer {
    code: u16,
    text: String,
    open: bool,
}

fn ends(text: &str) -> Answer {
    Answer { code: 200, text: text.to_owned(), open: false }
}

fn stays(text: &str) -> Answer {
    Answer { open: true, ..ends(text) }
}

fn refuses(code: u16, message: &str) -> Answer {
    let status =
        json!({"kind": "Status", "status": "Failure", "message": message, "reason": "x", "code": code});
    Answer { code, ..ends(&status.to_string()) }
}

/// What the kubelets and dashboards answer: by a part of the path with its query, one answer after the other, the last one again.
#[derive(Clone, Default)]
struct Kubelets {
    answers: Arc<Mutex<BTreeMap<&'static str, Vec<Answer>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Kubelets {
    fn with(answers: impl IntoIterator<Item = (&'static str, Vec<Answer>)>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), asked: Arc::default() }
    }

    fn answer(&self, uri: &str, token: Option<String>) -> Answer {
        self.asked.lock().unwrap().push(format!("{uri}{}", token.unwrap_or_default()));
        let mut answers = self.answers.lock().unwrap();
        if uri.contains("/proxy/api/jobs/") {
            return ends(&json!({"driver_node_id": "abc"}).to_string());
        }
        let Some((_, list)) = answers.iter_mut().rev().find(|(part, _)| uri.contains(*part)) else {
            return refuses(404, "not found");
        };
        if list.len() > 1 { list.remove(0) } else { list[0].clone() }
    }

    fn asked(&self, part: &str) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|uri| uri.contains(part)).cloned().collect()
    }
}

/// The server, with kubelets and dashboards behind it.
fn fleets(server: &Simulated, kubelets: &Kubelets) -> Fleets {
    let (simulated, kubelets) =
        (server.0.client("kubectl", "serving", Arc::new(Passthrough)), kubelets.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (simulated, kubelets) = (simulated.clone(), kubelets.clone());
        async move {
            let uri = request.uri().to_string();
            if !uri.contains("/log?") && !uri.contains("/proxy/") {
                let response = simulated.send(request).await?;
                return Ok::<_, kube::Error>(
                    response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()),
                );
            }
            let token =
                request.headers().get("X-Ray-Authorization").map(|it| format!(" {}", it.to_str().unwrap()));
            let Answer { code, text, open } = kubelets.answer(&uri, token);
            let pieces = stream::iter([Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(text)))]);
            let body: UnsyncBoxBody<Bytes, std::io::Error> = if open {
                StreamBody::new(pieces.chain(stream::pending())).boxed_unsync()
            } else {
                StreamBody::new(pieces).boxed_unsync()
            };
            Ok(Response::builder().status(code).body(body).unwrap())
        }
    });
    simulated::fleets(Client::new(service.map_err(tower::BoxError::from), "serving"))
}

fn put(server: &Simulated, object: Value) {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let status = json!({"status": object["status"]});
    server.0.create(&Kind::POD, object).unwrap();
    server.0.merge_patch_status(&Kind::POD, "serving", &name, &status).unwrap();
}

/// The sample fleet with a launch, and a head and a worker of its first group.
fn server() -> Simulated {
    let mut fleet = sample::upgrading();
    fleet.data["status"]["groups"][0]["launch"] = json!(2);
    let server = Simulated::with([fleet]);
    put(&server, pod("llama-bcdfgh-0", "head", "node-a"));
    let mut worker = pod("llama-bcdfgh-0", "worker", "node-b");
    worker["status"]["podIP"] = json!("10.0.0.2");
    put(&server, worker);
    server
}

const HEAD: &str = "/pods/llama-bcdfgh-0-head-x2b4f/log?";
const WORKER: &str = "/pods/llama-bcdfgh-0-worker-x2b4f/log?";
const JOB: &str = "node_id=abc&filename=job-driver-llama-bcdfgh-0.zxwvtr.2.log";

/// What it prints, and what it says to people.
async fn printed(
    line: &str,
    server: &Simulated,
    kubelets: &Kubelets,
) -> (Result<(), CliError>, String, String) {
    let (kept, args) = (Kept::default(), parse(line).unwrap());
    let done = run(&args, &fleets(server, kubelets), &kept.terminal(args.output)).await;
    (done, kept.out(), kept.progress())
}

/// The same of a command that goes on: for some seconds.
async fn followed(
    line: &str,
    server: &Simulated,
    kubelets: &Kubelets,
    seconds: u64,
    meanwhile: impl Future<Output = ()>,
) -> (String, String) {
    let (kept, args) = (Kept::default(), parse(line).unwrap());
    let (fleets, terminal) = (fleets(server, kubelets), kept.terminal(Format::Text));
    let both = futures::future::join(run(&args, &fleets, &terminal), meanwhile);
    assert!(tokio::time::timeout(Duration::from_secs(seconds), both).await.is_err(), "{}", kept.progress());
    (kept.out(), kept.progress())
}

fn stamped(second: u32, text: &str) -> String {
    format!("2030-01-01T00:00:{second:02}.5Z {text}\n")
}

#[tokio::test(start_paused = true)]
async fn engines_ranks_and_pods_are_one_log_in_the_order_of_time() {
    let job = "RAYFLEET_LAUNCH {\"name\": \"x\", \"ms\": 1893456001000}\n\
        \u{1b}[36m(ApiServer pid=5)\u{1b}[0m x\n\
        2030-01-01 00:00:03,000\tINFO loading\n\
        \u{1b}[36m(RayWorkerProc pid=7, ip=10.0.0.2)\u{1b}[0m loaded\n\
        2030-01-01 00:00:05,000\tINFO serving\n";
    let kubelets = Kubelets::with([
        (HEAD, vec![ends(&(stamped(0, "ray start") + &stamped(4, "\u{202e}odd")))]),
        (WORKER, vec![ends(&stamped(2, "joined"))]),
        (JOB, vec![ends(job)]),
    ]);
    let (done, text, notes) = printed("llama", &server(), &kubelets).await;
    done.unwrap();
    insta::assert_snapshot!(text);
    assert_eq!(notes, "");
    assert!(
        kubelets.asked(HEAD)[0].contains("tailLines=100") && kubelets.asked(JOB)[0].contains("lines=100")
    );
    assert!(kubelets.asked(JOB)[0].contains("/pods/llama-bcdfgh-0-head-x2b4f:8265/proxy/api/v0/logs/file?"));
}

#[tokio::test(start_paused = true)]
async fn a_filter_leaves_lines_out() {
    let job =
        "RAYFLEET_PHASE {\"phase\": \"Ranks\"}\n(ApiServer pid=5) INFO 01-01 00:00:03 [a.py:1] loading\n";
    let kubelets = Kubelets::with([
        (HEAD, vec![ends(&(stamped(0, "one") + &stamped(1, "two")))]),
        (JOB, vec![ends(job)]),
    ]);
    let (_, text, _) = printed("llama --container ray --grep ^t", &server(), &kubelets).await;
    assert_eq!(text, "llama-bcdfgh-0/head 0         two\n");
    let (_, text, _) = printed("llama --launcher", &server(), &kubelets).await;
    assert_eq!(text, "llama-bcdfgh-0/engine RAYFLEET_PHASE {\"phase\": \"Ranks\"}\n");
    let (_, text, _) = printed("llama --container ray -o json --timestamps", &server(), &kubelets).await;
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["line"], &first["pod"], &first["time"]),
        (&json!("one"), &json!("llama-bcdfgh-0-head-x2b4f"), &json!("2030-01-01T00:00:00.5Z"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_rank_s_own_files_are_read_with_the_token() {
    let server = server();
    let mut head = pod("llama-bcdfgh-0", "head", "node-a");
    head["metadata"]["name"] = json!("llama-bcdfgh-0-head-new");
    head["spec"]["containers"][0]["env"] = json!([
        {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "g", "key": "auth_token"}}}
    ]);
    server.0.remove(&Kind::POD, "serving", "llama-bcdfgh-0-head-x2b4f").unwrap();
    put(&server, head);
    let secret =
        json!({"metadata": {"name": "g", "namespace": "serving"}, "data": {"auth_token": "c2VjcmV0"}});
    server.0.create(&Kind::SECRET, secret).unwrap();
    let actors = json!({"data": {"result": {"result": [
        {"actor_id": "abc", "class_name": "RayWorkerProc", "name": "vllm_Worker_x_TP0_PP1", "state": "ALIVE", "job_id": "02"}
    ]}}});
    let kubelets = Kubelets::with([
        ("/api/v0/actors?", vec![ends(&actors.to_string())]),
        ("actor_id=abc&suffix=out", vec![ends(":job_id:02\nout\n")]),
        ("actor_id=abc&suffix=err", vec![ends("err\n")]),
    ]);
    let (done, text, notes) = printed("llama --rank 1", &server, &kubelets).await;
    done.unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["llama-bcdfgh-0/rank 1 err", "llama-bcdfgh-0/rank 1 out"], "{notes}");
    assert!(kubelets.asked("/proxy/").iter().all(|asked| asked.ends_with(" Bearer secret")));
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_and_the_rest_is_shown() {
    let message = "pods \"llama-bcdfgh-0-head-x2b4f:8265\" is forbidden: User \"me\" cannot get resource \"pods/proxy\"";
    let mut kubelets =
        Kubelets::with([(JOB, vec![refuses(403, message)]), (HEAD, vec![ends(&stamped(0, "x"))])]);
    let (done, text, notes) = printed("llama", &server(), &kubelets).await;
    done.unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    insta::assert_snapshot!(notes);
    kubelets = Kubelets::with([
        (HEAD, vec![refuses(403, "cannot get resource \"pods/log\"")]),
        (WORKER, vec![refuses(403, "no")]),
    ]);
    let (done, text, notes) = printed("llama --container ray", &server(), &kubelets).await;
    assert_eq!((done.unwrap_err().code(), text.as_str()), (1, ""));
    assert_eq!(
        notes.matches("you need the right to get pods/log in namespace \"serving\"").count(),
        1,
        "{notes}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_broken_connection_no_line_comes_twice() {
    let (one, two, three) = (stamped(1, "one"), stamped(2, "two"), stamped(2, "three"));
    let kubelets = Kubelets::with([(
        HEAD,
        vec![ends(&format!("{one}{two}2030-01-01T00:00:02.5Z thr")), stays(&format!("{two}{three}"))],
    )]);
    let (text, _) = followed("llama --container ray -f", &server(), &kubelets, 30, async {}).await;
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(_, last)| last).collect();
    assert_eq!(lines, ["one", "two", "three"], "{text}");
    let asked = kubelets.asked(HEAD);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].contains("sinceTime=2030-01-01T00%3A00%3A02Z"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_container_and_a_new_group_are_followed() {
    let server = server();
    let kubelets = Kubelets::with([
        (
            HEAD,
            vec![
                ends(&stamped(1, "before")),
                ends(&(stamped(1, "before") + &stamped(2, "its last"))),
                stays(&stamped(20, "after")),
            ],
        ),
        ("/pods/llama-bcdfgh-9-head-x2b4f/log?", vec![stays(&stamped(30, "new"))]),
    ]);
    let name = "llama-bcdfgh-0-head-x2b4f";
    let put_status = |status: Value| {
        let patch = json!({"status": {"containerStatuses": [status]}});
        server.0.merge_patch_status(&Kind::POD, "serving", name, &patch).unwrap();
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        put_status(json!({"name": "ray", "restartCount": 0, "state": {"terminated": {"exitCode": 1}}}));
        tokio::time::sleep(Duration::from_secs(9)).await;
        put_status(json!({"name": "ray", "restartCount": 1, "state": {"running": {}}}));
        tokio::time::sleep(Duration::from_secs(9)).await;
        put(&server, pod("llama-bcdfgh-9", "head", "node-c"));
    };
    let (text, _) = followed("llama --container ray -f --tail 5", &server, &kubelets, 60, meanwhile).await;
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.split_once('/')).map(|(_, rest)| rest).collect();
    assert_eq!(
        lines,
        ["head 0         before", "head 0         its last", "head 0         after", "head           new"],
        "{text}"
    );
    assert!(kubelets.asked(HEAD)[1].contains("previous=true"), "{:?}", kubelets.asked(HEAD));
    let new = &kubelets.asked("llama-bcdfgh-9")[0];
    assert!(!new.contains("tailLines"), "all of a new pod's log is new: {new}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_s_log_goes_on_after_a_break_and_with_its_next_launch() {
    let server = server();
    let kubelets = Kubelets::with([
        (JOB, vec![ends("a\nb\n"), refuses(503, "connection refused"), stays("a\nb\nc\n")]),
        ("filename=job-driver-llama-bcdfgh-0.zxwvtr.3.log", vec![stays("next\n")]),
    ]);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut status = server.llama().data["status"].clone();
        status["groups"][0]["launch"] = json!(3);
        server.0.merge_patch_status(&Kind::FLEET, "serving", "llama", &json!({"status": status})).unwrap();
    };
    let (text, notes) = followed("llama --engine -f", &server, &kubelets, 60, meanwhile).await;
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(_, last)| last).collect();
    assert_eq!(lines, ["a", "b", "c", "next"], "{text}");
    assert_eq!(notes, "engine llama-bcdfgh-0.zxwvtr.2: connection refused; trying again\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_left_out_and_what_is_missing_is_an_error() {
    let kubelets = Kubelets::with([(HEAD, vec![ends(&stamped(0, "x"))]), (JOB, vec![ends("y\n")])]);
    let (done, text, _) = printed("llama --max-log-requests 1", &server(), &kubelets).await;
    done.unwrap();
    assert_eq!(text, "llama-bcdfgh-0/engine         y\n");
    for (line, words) in [
        ("other", "\"other\" not found in namespace \"serving\""),
        ("llama llama-x", "has no group \"llama-x\"\ncure:  its groups: llama-bcdfgh-0, llama-bcdfgh-1"),
        ("llama llama-bcdfgh-1", "has no such log now\ncure:  wait for it with -f"),
        ("llama llama-bcdfgh-1 -p", "nothing of fleet \"llama\" has ended and started again"),
    ] {
        let (done, text, _) = printed(line, &server(), &kubelets).await;
        let fault = done.unwrap_err().to_string();
        assert!(fault.contains(words), "{line}: {fault}");
        assert_eq!(text, "");
    }
}

#[tokio::test(start_paused = true)]
async fn kuberay_s_words_are_those_about_the_groups() {
    let server = server();
    let (done, ..) = printed("llama --kuberay", &server, &Kubelets::default()).await;
    let fault = done.unwrap_err().to_string();
    assert!(
        fault.contains("no pod with the label app.kubernetes.io/component=kuberay-operator in any namespace"),
        "{fault}"
    );
    server.0.create(&Kind::NAMESPACE, json!({"metadata": {"name": "ray-system"}})).unwrap();
    let operator = json!({
        "metadata": {
            "name": "kuberay-operator-1", "namespace": "ray-system",
            "labels": {"app.kubernetes.io/component": "kuberay-operator"}
        },
        "spec": {"containers": [{"name": "kuberay-operator", "image": "x"}]}
    });
    server.0.create(&Kind::POD, operator).unwrap();
    let log = stamped(0, "{\"RayCluster\":\"llama-bcdfgh-0\"}")
        + &stamped(1, "{\"RayCluster\":\"other-bcdfgh-0\"}");
    let kubelets =
        Kubelets::with([("/namespaces/ray-system/pods/kuberay-operator-1/log?", vec![ends(&log)])]);
    let (done, text, _) = printed("llama --kuberay", &server, &kubelets).await;
    done.unwrap();
    assert_eq!(text, "ray-system/kuberay {\"RayCluster\":\"llama-bcdfgh-0\"}\n");
}
