//! `deploy`: from a file to an engine that answers, or why not.

use std::time::Duration;

use super::{File, deployed, file, ran};
use crate::fake::Fake;
use crate::model::tests::TINY;

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
