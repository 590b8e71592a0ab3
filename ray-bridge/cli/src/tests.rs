//! The commands against a fake cluster: requests, output and exit codes.

use std::time::Duration;

use clap::Parser;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_cli_kit::{CliError, Format};
use serde_json::Value;

use crate::args::{Cli, Command};
use crate::connect::Session;
use crate::fake::{Fake, session, session_within};
use crate::model::tests::TINY;
use crate::{Answer, run};

/// A model file that lives as long as the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ray-bridge-{}-{name}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The result of one command line.
struct Ran {
    answer: Result<Answer, CliError>,
    out: String,
    progress: String,
}

impl Ran {
    fn code(&self) -> u8 {
        match &self.answer {
            Ok(Answer::Yes) => 0,
            Ok(Answer::No) => 1,
            Err(fault) => fault.code(),
        }
    }

    fn said(&self) -> String {
        self.answer.as_ref().err().map(ToString::to_string).unwrap_or_default()
    }

    /// Progress without its times.
    fn steps(&self) -> Vec<&str> {
        self.progress.lines().map(|line| line.split_once("s  ").map_or(line, |(_, step)| step)).collect()
    }
}

async fn ran_in(session: &Session, line: &str) -> Ran {
    let cli = Cli::try_parse_from(std::iter::once("ray-bridge").chain(line.split_whitespace())).unwrap();
    let kept = Kept::default();
    let answer = run(&cli.command, session, &kept.terminal(cli.global.output)).await;
    Ran { answer, out: kept.out(), progress: kept.progress() }
}

async fn ran(fake: &Fake, line: &str) -> Ran {
    ran_in(&fake.session(), line).await
}

fn file(name: &str) -> (File, String) {
    let file = File::new(name, TINY);
    let path = file.0.display().to_string();
    (file, path)
}

/// A cluster with the engine of [`TINY`] deployed.
async fn deployed(name: &str) -> Fake {
    let fake = Fake::start().await;
    let (_file, path) = file(name);
    assert_eq!(ran(&fake, &format!("deploy -f {path}")).await.code(), 0);
    fake
}

#[tokio::test]
async fn plan_shows_the_node_of_every_rank() {
    let (_file, path) = file("plan");
    let fake = Fake::start().await;
    let text = ran(&fake, &format!("plan -f {path}")).await;
    assert_eq!(text.code(), 0);
    insta::assert_snapshot!(text.out);
    let json = ran(&fake, &format!("plan -f {path} -o json")).await;
    let plan: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(plan["ranks"].as_array().unwrap().len(), 4);
    assert_eq!((&plan["fits"], &plan["ranks"][2]["node"]), (&Value::Bool(true), &Value::from("worker-0")));
    assert!(fake.with(|cluster| cluster.asked.iter().all(|asked| asked.starts_with("GET "))));
}

#[tokio::test]
async fn plan_obeys_the_placement_flags() {
    let (_file, path) = file("plan-nodes");
    let small = File::new("plan-small", &TINY.replace("tensor: 2, pipeline: 2", "tensor: 1, pipeline: 2"));
    let small = small.0.display();
    let fake = Fake::start().await;
    let nodes = async |line: String| {
        let yaml = ran(&fake, &line).await;
        assert_eq!(yaml.code(), 0, "{}", yaml.said());
        let plan: Value = serde_saphyr::from_str(&yaml.out).unwrap();
        let ranks = plan["ranks"].as_array().unwrap().clone();
        ranks
            .iter()
            .map(|rank| format!("{} {}", rank["node"].as_str().unwrap(), rank["gpu"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes(format!("plan -f {small} -o yaml")).await, ["head-0 0", "head-0 1"]);
    let spread = format!("plan -f {small} -o yaml --strategy spread");
    assert_eq!(nodes(spread).await, ["head-0 0", "worker-0 0"]);
    assert_eq!(nodes(format!("plan -f {small} -o yaml --avoid head-0")).await, ["worker-0 0", "worker-0 1"]);
    assert_eq!(
        nodes(format!("plan -f {small} -o yaml --exclude 10.0.0.1")).await,
        ["worker-0 0", "worker-0 1"]
    );

    let avoided = ran(&fake, &format!("plan -f {path} --avoid 10.0.0.2")).await;
    let note = "note: worker-0 has ranks although it should be avoided: the others have no room";
    assert!(avoided.code() == 0 && avoided.out.contains(note), "{}", avoided.out);
    let excluded = ran(&fake, &format!("plan -f {path} --exclude worker-0")).await;
    assert_eq!(excluded.code(), 1);
    insta::assert_snapshot!(excluded.out);
}

#[tokio::test]
async fn a_plan_that_does_not_fit_shows_what_is_missing_and_the_cure() {
    let (_file, path) = file("no-plan");
    let fake = Fake::start().await;
    fake.with(|cluster| cluster.used = [0, 1]);
    let busy = ran(&fake, &format!("plan -f {path}")).await;
    let wide = File::new("wide", &TINY.replace("tensor: 2, pipeline: 2", "tensor: 4, pipeline: 1"));
    let wide = ran(&fake, &format!("plan -f {}", wide.0.display())).await;
    let long = File::new("long", &TINY.replace("pipeline: 2", "pipeline: 5"));
    let long = ran(&fake, &format!("plan -f {}", long.0.display())).await;
    assert_eq!((busy.code(), wide.code(), long.code()), (1, 1, 1));
    insta::assert_snapshot!([busy.out, wide.out, long.out].join("\n"));
}

#[tokio::test]
async fn an_invalid_model_file_is_a_usage_error() {
    let fake = Fake::start().await;
    let bad = File::new("bad", "name: x\nparallelism: {tensor: 0}\nprot: 1\n");
    let ran = ran(&fake, &format!("deploy -f {}", bad.0.display())).await;
    assert_eq!(ran.code(), 2);
    let said = ran.said().replace(&bad.0.display().to_string(), "FILE");
    insta::assert_snapshot!(said);
    assert!(fake.with(|cluster| cluster.asked.is_empty()));
}

#[tokio::test]
async fn deploy_follows_the_start_to_the_answer_of_the_probe() {
    let (_file, path) = file("deploy");
    let fake = Fake::start().await;
    fake.with(|cluster| {
        cluster.looks_until_healthy = 3;
        cluster.log = "RAYFLEET_PHASE {\"phase\": \"PlacementGroup\", \"seconds\": 0.1}\n\
            RAYFLEET_PHASE {\"phase\": \"Ranks\", \"seconds\": 0.4}\nother output\n\
            RAYFLEET_PHASE {\"phase\": \"Loading\", \"seconds\": 2.5}\n"
            .to_owned();
    });
    let first = ran(&fake, &format!("deploy -f {path} --wait")).await;
    assert_eq!(first.code(), 0, "{}", first.said());
    let mut steps = first.steps();
    assert!(steps.pop().unwrap().starts_with("probe answered in "), "{}", first.progress);
    let engine = fake.session().address.to_string();
    insta::assert_snapshot!(steps.join("\n").replace(engine.trim_end_matches('/'), "ENGINE"));
    assert!(first.out.contains("4/4 ranks alive, as planned"), "{}", first.out);

    let again = ran(&fake, &format!("deploy -f {path} --wait")).await;
    assert_eq!((again.code(), again.steps()[0]), (0, "engine tiny already runs as the file says"));
    let submits =
        fake.with(|cluster| cluster.asked.iter().filter(|asked| *asked == "POST /api/jobs/").count());
    assert_eq!(submits, 1);
}

#[tokio::test]
async fn deploy_waits_for_the_gpus_of_an_engine_that_has_just_ended() {
    let (_file, path) = file("wait");
    let fake = Fake::start().await;
    fake.with(|cluster| cluster.used = [2, 2]);
    let looks = || fake.with(|cluster| cluster.asked.iter().filter(|a| *a == "GET /api/v0/nodes").count());
    let freed = async {
        while looks() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fake.with(|cluster| cluster.used = [0, 0]);
    };
    let line = format!("deploy -f {path}");
    let (ran, ()) = futures::future::join(ran(&fake, &line), freed).await;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    assert!(
        ran.progress.starts_with("waiting up to 10 s for GPUs to be reported free: TP2×PP2"),
        "{}",
        ran.progress
    );
}

#[tokio::test]
async fn deploy_leaves_a_different_engine_of_the_name_alone() {
    let fake = deployed("other").await;
    let other = File::new("other-args", &TINY.replace("'1'", "'2'"));
    let ran = ran(&fake, &format!("deploy -f {}", other.0.display())).await;
    assert_eq!(ran.code(), 1);
    insta::assert_snapshot!(ran.said());
}

#[tokio::test]
async fn deploy_replaces_an_engine_that_has_ended() {
    let (_file, path) = file("replace");
    let fake = deployed("replaced").await;
    fake.with(|cluster| {
        let job = cluster.jobs.get_mut("tiny").unwrap();
        (job["status"], job["end_time"]) = ("STOPPED".into(), 1_795_337_323_066_u64.into());
    });
    let ran = ran(&fake, &format!("deploy -f {path}")).await;
    assert_eq!((ran.code(), ran.steps()[0]), (0, "an earlier engine tiny was stopped: removing its job"));
    assert!(fake.with(|cluster| cluster.asked.contains(&"DELETE /api/jobs/tiny".to_owned())));
    assert!(fake.with(|cluster| cluster.jobs["tiny"]["status"] == "RUNNING"));
}

#[tokio::test]
async fn a_failed_start_shows_the_cause_and_the_last_lines() {
    let (_file, path) = file("fails");
    let fake = Fake::start().await;
    fake.with(|cluster| {
        cluster.fails = true;
        cluster.log =
            "loading\nRAYFLEET_PHASE {\"phase\": \"Failed\", \"seconds\": 3, \"during\": \"Ranks\", \
            \"message\": \"model path /models/tiny does not exist on node 10.0.0.2\"}\n"
                .to_owned();
    });
    let ran = ran(&fake, &format!("deploy -f {path} --wait")).await;
    assert_eq!(ran.code(), 1);
    insta::assert_snapshot!(ran.said());
}

#[tokio::test]
async fn a_start_above_its_time_limit_shows_its_phase() {
    let (_file, path) = file("slow");
    let fake = Fake::start().await;
    fake.with(|cluster| {
        cluster.looks_until_healthy = u32::MAX;
        cluster.log = "RAYFLEET_PHASE {\"phase\": \"Loading\", \"seconds\": 2.5}\n".to_owned();
    });
    let ran = ran(&fake, &format!("deploy -f {path} --wait --timeout 1")).await;
    assert_eq!(ran.code(), 1);
    insta::assert_snapshot!(ran.said());
}

#[tokio::test]
async fn status_shows_one_engine_or_all() {
    let fake = deployed("status").await;
    fake.with(|cluster| cluster.in_flight = vec![3]);
    let one = ran(&fake, "status tiny -o json").await;
    let engine: Value = serde_json::from_str(&one.out).unwrap();
    assert_eq!((&engine["state"], &engine["inFlight"]), (&Value::from("serving"), &Value::from(3)));
    assert_eq!((&engine["asPlanned"], &engine["ranks"][3]["state"]), (&true.into(), &"alive".into()));

    let all = ran(&fake, "status").await;
    let lines: Vec<&str> = all.out.lines().collect();
    assert_eq!(lines[0], "Ray 2.60.0: 2 nodes, 4 of 4 GPUs free");
    assert!(lines[3].starts_with("tiny  tiny   TP2×PP2  running  "), "{}", all.out);

    let unknown = ran(&fake, "status nope").await;
    assert_eq!(unknown.code(), 1);
    assert!(
        unknown.said().contains("has no job of this name\ncure:  list the engines"),
        "{}",
        unknown.said()
    );
}

#[tokio::test]
async fn verify_shows_every_difference() {
    let fake = deployed("verify").await;
    let good = ran(&fake, "verify tiny").await;
    assert_eq!(good.code(), 0);
    insta::assert_snapshot!("verify_as_planned", good.out);
    fake.with(|cluster| cluster.swapped = true);
    let bad = ran(&fake, "verify tiny").await;
    assert_eq!(bad.code(), 1);
    insta::assert_snapshot!("verify_elsewhere", bad.out);
}

#[tokio::test]
async fn watch_writes_a_line_for_every_change() {
    let fake = deployed("watch").await;
    let (session, kept) = (fake.session(), Kept::default());
    let terminal = kept.terminal(Format::Json);
    let Command::Watch(args) = Cli::try_parse_from(["ray-bridge", "watch", "tiny"]).unwrap().command else {
        panic!("not a watch")
    };
    let has = |text: &str| kept.out().contains(text);
    let until = async |text: &str| {
        while !has(text) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let story = async {
        until("all ranks are as planned").await;
        fake.with(|cluster| cluster.swapped = true);
        until("rank 3 (TP1 PP1) is on node head-0").await;
        fake.with(|cluster| cluster.jobs.get_mut("tiny").unwrap()["status"] = "STOPPED".into());
        until("stopped").await;
        fake.with(|cluster| cluster.jobs.clear());
        until("no job of this name").await;
    };
    let both = futures::future::select(
        Box::pin(crate::watch::run(&args, &session, &terminal)),
        Box::pin(tokio::time::timeout(Duration::from_mins(1), story)),
    );
    let futures::future::Either::Right((done, _)) = both.await else { panic!("the watch ended by itself") };
    done.unwrap();
    let changes: Vec<String> = kept
        .out()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["change"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(changes[..3], ["serving", "4/4 ranks alive", "all ranks are as planned"]);
    let mut once = changes.clone();
    once.dedup();
    assert_eq!(once, changes);
}

#[tokio::test]
async fn a_fault_is_shown_by_status_watch_and_doctor() {
    let fake = deployed("trouble").await;
    fake.with(|cluster| {
        cluster.log = "RAYFLEET_PHASE {\"phase\": \"Serving\"}\n".to_owned();
        cluster.looks_until_healthy = u32::MAX;
    });
    let text = ran(&fake, "status tiny").await.out;
    let trouble = "the engine died: GET /health answers 503";
    assert!(text.contains(&format!("  trouble    {trouble}\n  cure       read its last lines")), "{text}");
    let json: Value = serde_json::from_str(&ran(&fake, "status tiny -o json").await.out).unwrap();
    assert_eq!(json["diagnosis"]["kind"], "EngineDied");
    let doctor = ran(&fake, "doctor").await;
    assert!(doctor.out.contains(&format!("warn  engine     tiny: {trouble}")), "{}", doctor.out);

    let (session, kept) = (fake.session(), Kept::default());
    let terminal = kept.terminal(Format::Json);
    let args = Cli::try_parse_from(["ray-bridge", "watch", "tiny"]).unwrap();
    let story = async {
        while !kept.out().contains("\"kind\":\"EngineDied\"") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fake.with(|cluster| cluster.looks_until_healthy = 0);
        while !kept.out().contains("no more: the engine died") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let both = futures::future::select(
        Box::pin(run(&args.command, &session, &terminal)),
        Box::pin(tokio::time::timeout(Duration::from_mins(1), story)),
    );
    let futures::future::Either::Right((done, _)) = both.await else { panic!("the watch ended by itself") };
    done.unwrap();
}

#[tokio::test]
async fn doctor_says_why_a_dashboard_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let session = session_within(&url, Duration::from_millis(200));
    let silent = ran_in(&session, "doctor").await;
    assert_eq!(silent.code(), 3);
    assert!(
        silent.out.contains("FAIL  cause      the dashboard is unreachable because of its process"),
        "{}",
        silent.out
    );
    assert!(silent.out.contains("its port accepts connections but does not answer"), "{}", silent.out);
}

#[tokio::test]
async fn drain_waits_for_the_last_request() {
    let fake = deployed("drain").await;
    fake.with(|cluster| cluster.in_flight = vec![2, 2, 1, 0]);
    let good = ran(&fake, "drain tiny -o json").await;
    assert_eq!(good.code(), 0);
    assert_eq!(good.steps(), ["2 in flight", "1 in flight", "0 in flight"]);
    assert!(fake.with(|cluster| cluster.asked.contains(&"POST /rayfleet/v1/drain".to_owned())));
    let drained: Value = serde_json::from_str(&good.out).unwrap();
    assert_eq!((&drained["drained"], &drained["inFlight"]), (&true.into(), &0.into()));

    fake.with(|cluster| cluster.in_flight = vec![5]);
    let late = ran(&fake, "drain tiny --timeout 1s").await;
    assert_eq!(late.code(), 1);
    assert!(late.out.starts_with("tiny: 5 requests are still in flight after "), "{}", late.out);
}

#[tokio::test]
async fn an_engine_with_requests_in_flight_is_not_stopped_after_the_drain() {
    let fake = deployed("stop").await;
    fake.with(|cluster| cluster.in_flight = vec![1]);
    let kept = ran(&fake, "stop tiny --drain --drain-timeout 1s").await;
    assert_eq!(kept.code(), 1);
    assert!(kept.said().contains("1 requests are still in flight; it was not stopped"), "{}", kept.said());
    assert!(!fake.with(|cluster| cluster.asked.contains(&"POST /api/jobs/tiny/stop".to_owned())));

    let stopped = ran(&fake, "stop tiny").await;
    assert_eq!(stopped.code(), 0);
    assert!(stopped.out.starts_with("tiny: stopped in "), "{}", stopped.out);
    assert_eq!(ran(&fake, "stop tiny").await.out, "tiny: it had ended before\n");
}

#[tokio::test]
async fn logs_prints_the_last_lines() {
    let fake = deployed("logs").await;
    fake.with(|cluster| cluster.log = "a\nb\nc\n".to_owned());
    assert_eq!(ran(&fake, "logs tiny --tail 2").await.out, "b\nc\n");
    let json: Value = serde_json::from_str(&ran(&fake, "logs tiny -o json").await.out).unwrap();
    assert_eq!(json["lines"], serde_json::json!(["a", "b", "c"]));
}

#[tokio::test]
async fn logs_leaves_out_an_earlier_launch_of_the_name() {
    let fake = deployed("logs-again").await;
    let begin = "Running entrypoint for job tiny: exec python -u rayfleet_launcher.py\n";
    fake.with(|cluster| cluster.log = format!("{begin}old\n{begin}new\n"));
    assert_eq!(ran(&fake, "logs tiny").await.out, format!("{begin}new\n"));
}

#[tokio::test]
async fn logs_follows_until_the_job_has_ended() {
    let fake = deployed("follow").await;
    let streams: [&[&str]; 3] =
        [&["a\nb\n", "c\nd"], &["a\nb\nc\nd", "e\n"], &["a\nb\nc\nde\nf\n", "without an end"]];
    fake.with(|cluster| cluster.streams = streams.map(<[&str]>::to_vec).to_vec());
    let session = fake.session();
    let follow = ran_in(&session, "logs tiny -f --tail 2");
    let end = async {
        while fake.with(|cluster| cluster.asked.iter().filter(|asked| *asked == "follow").count() < 3) {
            tokio::task::yield_now().await;
        }
        fake.with(|cluster| cluster.jobs.get_mut("tiny").unwrap()["status"] = "STOPPED".into());
    };
    let (ran, ()) = futures::future::join(follow, end).await;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    assert_eq!(ran.out, "b\nc\nde\nf\nwithout an end\n");
    assert_eq!(ran.progress, "Ray has closed the stream although the job runs; trying again\n");
}

#[tokio::test]
async fn logs_polls_a_log_that_cannot_be_followed() {
    let fake = deployed("poll").await;
    fake.with(|cluster| cluster.log = "a\nb\nc".to_owned());
    let session = fake.session();
    let follow = ran_in(&session, "logs tiny -f --tail 1 -o json");
    let looks = |n: usize| {
        let asked = || fake.with(|c| c.asked.iter().filter(|asked| asked.ends_with("/logs")).count());
        async move {
            while asked() < n {
                tokio::task::yield_now().await;
            }
        }
    };
    let grow = async {
        looks(2).await;
        fake.with(|cluster| cluster.log.push_str("c\nd\n"));
        looks(4).await;
        fake.with(|cluster| {
            cluster.log.push('e');
            cluster.jobs.get_mut("tiny").unwrap()["status"] = "FAILED".into();
        });
    };
    let (ran, ()) = futures::future::join(follow, grow).await;
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = lines.iter().map(|line| line["line"].as_str().unwrap()).collect();
    assert_eq!(texts, ["b", "cc", "d", "e"]);
    assert!(ran.progress.starts_with("no live stream ("), "{}", ran.progress);
}

#[tokio::test]
async fn doctor_reports_every_check_that_fails() {
    let fake = deployed("doctor").await;
    fake.with(|cluster| cluster.used = [2, 2]);
    let next = File::new("doctor-next", &TINY.replace("name: tiny", "name: next"));
    let sick = ran(&fake, &format!("doctor -f {}", next.0.display())).await;
    assert_eq!(sick.code(), 1);
    let text = sick.out.replace(fake.session().address.as_str().trim_end_matches('/'), "ADDRESS");
    let text: Vec<&str> = text.lines().map(|l| l.split_once(" answers in ").map_or(l, |(l, _)| l)).collect();
    insta::assert_snapshot!(text.join("\n"));
    assert_eq!(ran(&Fake::start().await, "doctor").await.code(), 0);
}

#[tokio::test]
async fn connection_errors_have_a_cure() {
    let fake = Fake::start().await;
    fake.with(|cluster| cluster.token = Some("s3cret".to_owned()));
    for line in ["status", "doctor", "logs x", "watch x"] {
        let ran = ran(&fake, line).await;
        assert_eq!(ran.code(), 3, "{line}");
        assert!(ran.said().contains("401") && ran.said().contains("--token-file FILE"), "{}", ran.said());
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for line in ["status", "doctor", "stop x"] {
        let ran = ran_in(&session(&nobody), line).await;
        assert_eq!(ran.code(), 3, "{line}");
        assert!(ran.said().contains("cure:  check --address"), "{}", ran.said());
    }
}
