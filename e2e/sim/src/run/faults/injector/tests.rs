//! Violations of the two rules about calls are reported.

use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::run::Plan;
use crate::run::trace::Trace;

fn injector(who: &str) -> FaultInjector {
    let shared = Shared::new(1, Plan::default(), Trace::begin(), mpsc::unbounded_channel().0);
    FaultInjector::new(who, ApiServer::new(), shared)
}

fn call(verb: api::Verb, kind: api::Kind) -> Call {
    let name = "x".to_owned();
    let namespace = "default".to_owned();
    Call {
        number: 1,
        who: "a1".to_owned(),
        verb,
        kind,
        namespace,
        name,
        subresource: None,
        body: Value::Null,
        dry_run: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_may_read_and_request_the_lease_but_not_write() {
    let injector = injector("a1");
    let lease = |holder: &str| json!({"metadata": {"namespace": "default", "name": "l"}, "spec": {"holderIdentity": holder}});
    injector.api.create(&api::Kind::LEASE, lease("a1")).unwrap();
    let write = call(api::Verb::Delete, api::Kind::RAY_CLUSTER);
    injector.judge(&write);
    injector.api.replace(&api::Kind::LEASE, lease("b1")).unwrap();
    injector.judge(&call(api::Verb::Get, api::Kind::RAY_CLUSTER));
    injector.judge(&call(api::Verb::Update, api::Kind::LEASE));
    injector.judge(&Call { dry_run: true, ..write.clone() });
    assert_eq!(injector.shared.state().breaches, Vec::<String>::new());
    injector.judge(&write);
    assert_eq!(
        injector.shared.state().breaches,
        [format!("a1 writes while b1 leads: delete {} x", api::Kind::RAY_CLUSTER)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hot_loop_is_reported_once() {
    let injector = injector("a1");
    let many = |calls: u32| {
        for _ in 0..calls {
            assert_eq!(injector.judge(&call(api::Verb::List, api::Kind::POD)), Verdict::Pass);
        }
    };
    many(HOT - 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    many(HOT - 1);
    assert_eq!(injector.shared.state().breaches, Vec::<String>::new());
    many(HOT);
    assert_eq!(injector.shared.state().breaches, [format!("hot loop: {HOT} calls at one moment")]);
}
