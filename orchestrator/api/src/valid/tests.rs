//! What a fleet may say, beyond what one field alone may: each refusal with its field.

mod published;

use std::time::Duration;

use serde_json::{Value, json};

use super::{ValidFailurePolicy, ValidFleet};

fn fleet(pointer: &str, value: Value) -> Result<ValidFleet, Vec<String>> {
    let pod =
        json!({"spec": {"containers": [{"name": "ray", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}});
    let mut fleet = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
        "metadata": {"name": "f", "namespace": "n"},
        "spec": {
            "replicas": 100,
            "selector": {"matchLabels": {"app": "f"}},
            "strategy": {"rollingUpdate": {}},
            "failurePolicy": {},
            "drain": {},
            "template": {
                "metadata": {"labels": {"app": "f"}},
                "spec": {
                    "headGroupSpec": {"template": pod, "rayStartParams": {}},
                    "workerGroupSpecs": [{"groupName": "w", "replicas": 1, "template": pod}],
                },
            },
            "model": {"name": "m", "source": "/m", "parallelism": {"pipeline": 2}, "engine": {}},
        },
    });
    if let Some((holder, field)) = pointer.rsplit_once('/') {
        fleet.pointer_mut(holder).unwrap()[field] = value;
    }
    let fleet = serde_json::from_value(fleet).unwrap();
    ValidFleet::new(&fleet).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn refused(pointer: &str, value: Value) -> String {
    let reported = fleet(pointer, value).unwrap_err();
    assert_eq!(reported.len(), 1, "{reported:?}");
    reported.into_iter().next().unwrap_or_default()
}

fn failure(policy: Value) -> ValidFailurePolicy {
    fleet("/spec/failurePolicy", policy).unwrap().failure
}

#[test]
fn every_duration_has_bounds_and_none_of_them_panics() {
    let endless = "99999999999999999999h";
    for (pointer, field, least) in [
        ("/spec/drain/timeout", "spec.drain.timeout", "0s"),
        ("/spec/failurePolicy/hungAfter", "spec.failurePolicy.hungAfter", "1s"),
    ] {
        let reported = refused(pointer, json!(endless));
        assert_eq!(reported, format!("{field}: must be {least} to 720h, is `{endless}`"));
        if least == "1s" {
            assert_eq!(refused(pointer, json!("0s")), format!("{field}: must be 1s to 720h, is `0s`"));
        }
    }
    let both = fleet("/spec/failurePolicy/backoff", json!({"initial": "0s", "max": "0s"})).unwrap_err();
    assert_eq!(both.len(), 2, "a wait of nothing would be a hot loop: {both:?}");
    assert_eq!(fleet("/spec/drain/timeout", json!("0s")).unwrap().drain_timeout, Duration::ZERO);
    // Groups may serve that were started with it.
    for (said, kept) in [(endless, 720 * 3600), ("0s", 1), ("90s", 90)] {
        let model = fleet("/spec/model/startTimeout", json!(said)).unwrap().model.unwrap();
        assert_eq!(model.start_timeout, Duration::from_secs(kept), "{said}");
    }
    let reported = refused("/spec/model/startTimeout", json!("soon"));
    assert!(reported.starts_with("spec.model.startTimeout: `soon` is no duration"), "{reported}");
}

#[test]
fn the_first_wait_is_never_longer_than_the_longest() {
    let reported = refused("/spec/failurePolicy/backoff", json!({"initial": "2m", "max": "1m"}));
    assert!(reported.starts_with("spec.failurePolicy.backoff: initial must not be above max"), "{reported}");
    let waits = |backoff: Value| {
        let failure = failure(json!({"backoff": backoff}));
        (failure.backoff_initial.as_secs(), failure.backoff_max.as_secs())
    };
    assert_eq!(waits(json!({})), (5, 300));
    assert_eq!(waits(json!({"max": "2s"})), (2, 2), "what is not said gives way");
    assert_eq!(waits(json!({"initial": "10m"})), (600, 600));
}

#[test]
fn a_bound_of_a_rollout_is_a_number_or_a_percentage_within_reason() {
    for value in [json!("4294967295%"), json!("abc"), json!(-1), json!("3"), json!(10_000)] {
        for field in ["maxSurge", "maxUnavailable", "partition"] {
            let reported = refused(&format!("/spec/strategy/rollingUpdate/{field}"), value.clone());
            assert!(
                reported.starts_with(&format!("spec.strategy.rollingUpdate.{field}: must be a whole number")),
                "{reported}"
            );
        }
    }
    assert_eq!(
        fleet("/spec/strategy/rollingUpdate/maxSurge", json!("101%")).unwrap().strategy.max_surge,
        101
    );
}

#[test]
fn an_engine_is_given_no_more_than_a_process_can_take() {
    let reported = refused("/spec/model/engine/args", json!(["x".repeat(50_000), "y".repeat(50_000)]));
    assert!(
        reported.starts_with("spec.model.engine: args and env have 100000 bytes together, at most 98304"),
        "{reported}"
    );
}

#[test]
fn a_port_of_ray_is_none_for_an_engine() {
    let reported = refused("/spec/model/port", json!(8265));
    assert!(
        reported
            .starts_with("spec.model.port: the engine cannot have port 8265: Ray's dashboard listens there"),
        "{reported}"
    );
    let head = "/spec/template/spec/headGroupSpec/rayStartParams";
    let reported = refused(head, json!({"metrics-export-port": "8000"}));
    assert!(
        reported.starts_with("spec.template.spec.headGroupSpec: the engine cannot have port 8000"),
        "{reported}"
    );
    assert!(fleet(head, json!({"metrics-export-port": "9090"})).is_ok());
}

#[test]
fn the_history_has_an_upper_limit() {
    let kept = |limit: i32| fleet("/spec/revisionHistoryLimit", json!(limit)).unwrap().history_limit;
    assert_eq!((kept(i32::MAX), kept(100), kept(0)), (100, 100, 0));
}

#[test]
fn the_size_of_a_group_is_the_one_that_kuberay_gives_it() {
    let worker = "/spec/template/spec/workerGroupSpecs/0";
    let pods = |field: &str, value: Value| fleet(&format!("{worker}/{field}"), value);
    assert_eq!(pods("maxReplicas", json!(1)).unwrap().shape.size(), 2);
    let reported = pods("minReplicas", json!(3)).unwrap_err();
    assert!(reported[0].contains("the template has 4 GPUs in 4 pods"), "{reported:?}");
    let reported = pods("suspend", json!(true)).unwrap_err();
    assert!(reported[0].contains("the template has 1 GPUs in 1 pods"), "{reported:?}");
}
