//! `drain` and `stop`: requests in flight end first.

use serde_json::Value;

use super::{deployed, ran};

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
