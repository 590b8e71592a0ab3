//! `status` and `verify`: one look at engines.

use serde_json::Value;

use super::{deployed, ran};

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
