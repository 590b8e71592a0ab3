//! The election against a store that refuses writes of a stale version, in paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Election, Leadership};
use crate::clock;
use crate::testing::{Answer, Call, Fake, refusal};

/// A server with one lease.
#[derive(Clone, Default)]
struct Store {
    lease: Arc<Mutex<Option<Value>>>,
    silent: Arc<AtomicBool>,
}

impl Store {
    fn held_by(holder: &str) -> Self {
        let store = Self::default();
        store.write(&json!({
            "metadata": {"name": "l", "namespace": "n"}, "spec": {"holderIdentity": holder}
        }));
        store
    }

    fn write(&self, lease: &Value) -> Value {
        let mut held = self.lease.lock();
        let version = held.as_ref().map_or(0, version) + 1;
        let mut lease = lease.clone();
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        *held = Some(lease.clone());
        lease
    }

    fn holder(&self) -> String {
        let lease = self.lease.lock();
        lease.as_ref().and_then(|lease| lease["spec"]["holderIdentity"].as_str()).unwrap_or("none").to_owned()
    }

    fn answer(&self, call: &Call) -> Answer {
        if self.silent.load(Ordering::SeqCst) {
            return Answer::Silence;
        }
        let held = self.lease.lock().clone();
        match (call.method.clone(), held) {
            (Method::GET, Some(lease)) => Answer::Reply(200, lease),
            (Method::GET, None) => refusal(404, "NotFound", "no lease"),
            (Method::POST, Some(_)) => refusal(409, "AlreadyExists", "there is one"),
            (Method::PUT, Some(lease)) if version(&lease) != version(&call.body) => {
                refusal(409, "Conflict", "changed")
            }
            _ => Answer::Reply(200, self.write(&call.body)),
        }
    }

    fn server(&self) -> Fake {
        let store = self.clone();
        Fake::new(move |call| store.answer(call))
    }

    fn election(&self, identity: &str) -> (Election, Leadership) {
        Election::new(self.server().client(), "n", "l", identity.to_owned())
    }
}

fn version(lease: &Value) -> u64 {
    lease["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn the_first_creates_the_lease_and_the_second_waits() {
    let store = Store::default();
    let (mut a, _) = store.election("a");
    let (mut b, _) = store.election("b");
    assert!(a.turn().await.unwrap());
    assert!(!b.turn().await.unwrap());
    assert!(a.turn().await.unwrap());
    assert_eq!(store.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_replaced_after_the_whole_duration() {
    let store = Store::held_by("gone");
    let (mut b, _) = store.election("b");
    assert!(!b.turn().await.unwrap());
    tokio::time::advance(Duration::from_millis(14_900)).await;
    assert!(!b.turn().await.unwrap());
    tokio::time::advance(Duration::from_millis(100)).await;
    assert!(b.turn().await.unwrap());
    assert_eq!(store.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn losing_the_race_for_a_lease_is_no_error_and_no_leadership() {
    let store = Store::held_by("");
    let rival = store.clone();
    // Somebody else takes it between our read and our write.
    let server = Fake::new(move |call| {
        let answer = rival.answer(call);
        if call.method == Method::GET && rival.holder().is_empty() {
            rival.write(&json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "rival"}}));
        }
        answer
    });
    let (mut a, _) = Election::new(server.client(), "n", "l", "a".to_owned());
    assert!(!a.turn().await.unwrap());
    assert_eq!(store.holder(), "rival");
}

#[tokio::test(start_paused = true)]
async fn losing_the_race_to_create_is_no_error_and_no_leadership() {
    let store = Store::default();
    let rival = store.clone();
    let server = Fake::new(move |call| {
        let answer = rival.answer(call);
        if call.method == Method::GET && rival.holder() == "none" {
            rival.write(&json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "rival"}}));
        }
        answer
    });
    let (mut a, _) = Election::new(server.client(), "n", "l", "a".to_owned());
    assert!(!a.turn().await.unwrap());
    assert_eq!(store.holder(), "rival");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_the_other_starts() {
    let store = Store::default();
    let (a, mut a_leads) = store.election("a");
    let cut_off = Store { silent: Arc::default(), ..store.clone() };
    let (b, mut b_leads) = cut_off.election("b");
    let running = [
        tokio::spawn(a.run(Arc::default(), "", |_| None)),
        tokio::spawn(b.run(Arc::default(), "", |_| None)),
    ];
    a_leads.gained().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(a_leads.holds(clock::monotonic()) && !b_leads.holds(clock::monotonic()));

    store.silent.store(true, Ordering::SeqCst);
    a_leads.lost().await;
    let ended = clock::monotonic();
    b_leads.gained().await;
    let gap = clock::monotonic() - ended;
    assert!(gap >= Duration::from_secs(5), "only {gap:?} between two leaders");
    assert!(gap <= Duration::from_secs(12), "{gap:?} without a leader");
    for task in running {
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_free_at_once() {
    let store = Store::default();
    let (a, mut a_leads) = store.election("a");
    let stop = Arc::new(Notify::new());
    let running = tokio::spawn(a.run(stop.clone(), "", |_| None));
    a_leads.gained().await;
    stop.notify_one();
    running.await.unwrap();
    assert_eq!(store.holder(), "");
    assert!(!a_leads.holds(clock::monotonic()));
}

/// A replica is deaf from a moment on, while it leads.
fn deaf_from(leads: &Leadership, begins: Instant) -> impl Fn(Instant) -> Option<Duration> + use<> {
    let leads = leads.clone();
    move |now| (leads.holds(now) && begins <= now).then(|| now - begins)
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_no_pod_leaves_the_lease_to_one_that_does() {
    let store = Store::default();
    let (a, mut a_leads) = store.election("a");
    let (b, mut b_leads) = store.election("b");
    let a_is_deaf = deaf_from(&a_leads, clock::monotonic() + Duration::from_mins(1));
    let running = [
        tokio::spawn(a.run(Arc::default(), "it is deaf", a_is_deaf)),
        tokio::spawn(b.run(Arc::default(), "", |_| None)),
    ];
    a_leads.gained().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(a_leads.holds(clock::monotonic()));
    a_leads.lost().await;
    let ended = clock::monotonic();
    b_leads.gained().await;
    let gap = clock::monotonic() - ended;
    assert!(gap >= Duration::from_secs(5), "only {gap:?} for what was on its way");
    assert!(gap <= Duration::from_secs(8), "{gap:?} without a leader");
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(store.holder(), "b", "and it stays there");
    for task in running {
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_deaf_replica_leads_again_where_nobody_else_does() {
    let store = Store::default();
    let (a, mut leads) = store.election("a");
    let deaf = deaf_from(&leads, clock::monotonic());
    let running = tokio::spawn(a.run(Arc::default(), "it is deaf", deaf));
    let mut without = Duration::ZERO;
    leads.gained().await;
    let started = clock::monotonic();
    while clock::monotonic() - started < Duration::from_mins(30) {
        leads.lost().await;
        let lost = clock::monotonic();
        leads.gained().await;
        let gap = clock::monotonic() - lost;
        assert!(gap <= Duration::from_secs(18), "{gap:?} without a leader");
        without += gap;
    }
    assert!(without <= Duration::from_mins(3), "{without:?} of half an hour without a leader");
    running.abort();
}
