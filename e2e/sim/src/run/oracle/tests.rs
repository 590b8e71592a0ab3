//! Each criterion for the end of a run is violated once, and only that violation is reported.

use rayfleet_api::status::Phase;
use serde_json::{Value, json};

use super::*;
use crate::run::Plan;
use crate::run::faults::{Kind, Written};
use crate::run::report::Tally;
use crate::run::scenario::{Load, standard};

/// A scenario with every kind of expectation.
fn scenario() -> Scenario {
    let mut scenario = standard().unwrap().into_iter().find(|scenario| scenario.name == "create").unwrap();
    let expect = json!({
        "ready": 2, "updated": 1, "groups": 3, "lost": 1, "failed": 2, "died": 5, "minReady": 1, "maxGroups": 3,
        "conditions": {"Available": "True", "Stalled": "False/AllWell"},
    });
    scenario.expect = serde_json::from_value(expect).unwrap();
    scenario
}

/// A fleet in the expected final state, changed by a merge patch.
fn ended(patch: &Value) -> RayClusterFleet {
    let group = |number: u32| json!({"name": format!("g-{number}"), "slot": number, "revision": "a", "phase": Phase::Ready});
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2030-01-01T00:00:00Z"
        })
    };
    let mut fleet = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
        "metadata": {"name": "f", "generation": 4},
        "spec": {"selector": {}, "template": {"spec": {}}},
        "status": {
            "observedGeneration": 4, "readyReplicas": 2, "updatedReplicas": 1, "groups": [group(0), group(1), group(2)],
            "conditions": [condition("Available", "True", "Enough"), condition("Stalled", "False", "AllWell")],
        },
    });
    json_patch::merge(&mut fleet, patch);
    serde_json::from_value(fleet).unwrap()
}

#[test]
fn an_unexpected_final_state_is_reported_by_its_difference() {
    let expect = scenario().expect;
    let gone = Expect { gone: true, ..expect.clone() };
    let reported = |expect: &Expect, patch: Value| missing(expect, Some(&ended(&patch)), true);
    assert_eq!(reported(&expect, json!({})), None);
    let conditions = json!([{
        "type": "Stalled", "status": "False", "reason": "Other", "message": "",
        "lastTransitionTime": "2030-01-01T00:00:00Z"
    }]);
    for (patch, says) in [
        (json!({"metadata": {"generation": 5}}), "the status is not of the newest spec"),
        (json!({"status": {"readyReplicas": 1}}), "ready should be 2 and is 1"),
        (json!({"status": {"updatedReplicas": 2}}), "updated should be 1 and is 2"),
        (json!({"status": {"groups": []}}), "groups should be 3 and are 0"),
        (json!({"status": {"conditions": []}}), "condition Available should be True and is absent"),
    ] {
        assert_eq!(reported(&expect, patch).as_deref(), Some(says));
    }
    let only_stalled =
        Expect { conditions: [("Stalled".to_owned(), "False/AllWell".to_owned())].into(), ..expect.clone() };
    assert_eq!(
        reported(&only_stalled, json!({"status": {"conditions": conditions}})).as_deref(),
        Some("condition Stalled should be False/AllWell and is False/Other")
    );
    assert_eq!(reported(&gone, json!({})).as_deref(), Some("the fleet is still there"));
    for (expect, left, is_reported) in [(&expect, false, true), (&gone, true, true), (&gone, false, false)] {
        let says = missing(expect, None, left);
        assert_eq!(says.is_some(), is_reported, "{says:?}");
    }
}

#[test]
fn an_unmet_expectation_about_a_run_is_reported() {
    let extremes = Extremes { fewest: Some(1), most: 3 };
    let tally = Tally { answered: 9, died: 5, cut_off: 1, refused: 2 };
    let reported = |extremes: Extremes, tally: Tally, lost: i64| expected(&scenario(), extremes, tally, lost);
    assert_eq!(reported(extremes, tally, 1), Vec::<String>::new());
    for (extremes, tally, lost, says) in [
        (extremes, tally, 2, "drain deadlines cut off 2 requests, at most 1 allowed"),
        (
            extremes,
            Tally { cut_off: 2, ..tally },
            1,
            "2 requests were cut off and 2 refused, at most 3 allowed",
        ),
        (
            extremes,
            Tally { refused: 3, ..tally },
            1,
            "1 requests were cut off and 3 refused, at most 3 allowed",
        ),
        (extremes, Tally { answered: 0, ..tally }, 1, "no request was answered"),
        (extremes, Tally { died: 6, ..tally }, 1, "6 requests died with their engine, at most 5 allowed"),
        (
            Extremes { fewest: Some(0), ..extremes },
            tally,
            1,
            "only 0 groups took traffic at some time, at least 1 required",
        ),
        (Extremes { most: 4, ..extremes }, tally, 1, "4 RayClusters existed at one time, at most 3 allowed"),
    ] {
        assert_eq!(reported(extremes, tally, lost), [says]);
    }
    let silent = Scenario { load: Load::default(), ..scenario() };
    assert_eq!(expected(&silent, extremes, Tally { answered: 0, ..tally }, 1), Vec::<String>::new());
    let unbounded = expected(&scenario().unbounded(), Extremes { fewest: Some(0), most: 9 }, tally, 1);
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn a_run_with_faults_is_reported_by_its_differences() {
    let written = Written { at: Duration::ZERO, who: "a1".to_owned(), what: "x".to_owned(), is_event: false };
    let report = |writes: usize, ready: i32, faults: &[u64]| Report {
        writes: vec![written.clone(); writes],
        plan: Plan(faults.iter().flat_map(|at| Plan::one(Kind::Lost, *at).0).collect()),
        end: json!({"status": {"ready": ready, "rollout": {"number": 1}}, "revisions": []}),
        ..Report::default()
    };
    let without = report(20, 2, &[]);
    for (writes, faults) in [(70, [].as_slice()), (70, &[3]), (110, &[3, 7])] {
        assert_eq!(differences(&without, &report(writes, 2, faults)), Vec::<String>::new());
        assert_eq!(
            differences(&without, &report(writes + 1, 2, faults)),
            [format!("{} writes, 20 without faults, at most {writes} are allowed", writes + 1)]
        );
    }
    assert_eq!(
        differences(&without, &report(20, 1, &[3])),
        ["final state differs from the run without faults: /status/ready was 2 and is 1"]
    );
}

#[test]
fn a_walk_is_reported_by_its_final_state_and_not_by_its_length() {
    let report = |ready: i32, number: i32| Report {
        end: json!({"status": {"ready": ready, "rollout": {"number": number}}, "revisions": vec![1; 3]}),
        ..Report::default()
    };
    assert_eq!(same_end(&report(2, 1), &report(2, 5)), Vec::<String>::new());
    assert_eq!(
        same_end(&report(2, 1), &report(1, 1)),
        ["final state differs from the direct way: /status/ready was 2 and is 1"]
    );
}
