//! `logs`: the end of a log, and what is added to it.

use serde_json::Value;

use super::{deployed, ran, ran_in};

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
