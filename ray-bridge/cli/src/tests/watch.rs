//! `watch`: every change, and faults as all commands show them.

use std::time::Duration;

use clap::Parser;
use rayfleet_cli_kit::Format;
use rayfleet_cli_kit::testing::Kept;
use serde_json::Value;

use super::{deployed, ran};
use crate::args::{Cli, Command};
use crate::run;

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
