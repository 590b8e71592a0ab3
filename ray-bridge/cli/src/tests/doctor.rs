//! `doctor`, and what every command says of a Ray that it does not reach.

use std::time::Duration;

use super::{File, deployed, ran, ran_in};
use crate::fake::{Fake, session, session_within};
use crate::model::tests::TINY;

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
