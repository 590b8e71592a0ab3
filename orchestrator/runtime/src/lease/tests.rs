//! The election on the simulated API server, in paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayfleet_sim_kube::api::{ApiServer, Call, Interceptor, Kind, Passthrough, Verb, Verdict};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Election, Leadership};
use crate::clock;

const NAMESPACE: &str = "default";

fn elect(api: &ApiServer, identity: &str, interceptor: impl Interceptor + 'static) -> (Election, Leadership) {
    let client = api.client(identity, NAMESPACE, Arc::new(interceptor));
    Election::new(client, NAMESPACE, "l", identity.to_owned())
}

fn election(api: &ApiServer, identity: &str) -> (Election, Leadership) {
    elect(api, identity, Passthrough)
}

fn lease(holder: &str) -> Value {
    json!({"metadata": {"name": "l", "namespace": NAMESPACE}, "spec": {"holderIdentity": holder}})
}

fn held_by(holder: &str) -> ApiServer {
    let api = ApiServer::new();
    api.create(&Kind::LEASE, lease(holder)).unwrap();
    api
}

/// Who holds the lease; `None` if there is none, or nobody.
fn holder(api: &ApiServer) -> Option<String> {
    let lease = api.get(&Kind::LEASE, NAMESPACE, "l")?;
    lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned)
}

/// Somebody else takes the lease between a read and the write that follows it.
struct Rival(ApiServer);

impl Interceptor for Rival {
    fn applied(&self, call: &Call, _: u16) {
        if call.verb == Verb::Get && holder(&self.0).is_none() {
            let taken = self.0.create(&Kind::LEASE, lease("rival"));
            taken.or_else(|_| self.0.replace(&Kind::LEASE, lease("rival"))).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_creates_the_lease_and_the_second_waits() {
    let api = ApiServer::new();
    let (mut a, _) = election(&api, "a");
    let (mut b, _) = election(&api, "b");
    assert!(a.turn().await.unwrap());
    assert!(!b.turn().await.unwrap());
    assert!(a.turn().await.unwrap());
    assert_eq!(holder(&api).as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_replaced_after_the_whole_duration() {
    let api = held_by("gone");
    let (mut b, _) = election(&api, "b");
    assert!(!b.turn().await.unwrap());
    tokio::time::advance(Duration::from_millis(14_900)).await;
    assert!(!b.turn().await.unwrap());
    tokio::time::advance(Duration::from_millis(100)).await;
    assert!(b.turn().await.unwrap());
    assert_eq!(holder(&api).as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn losing_the_race_for_a_lease_or_to_create_it_is_no_error_and_no_leadership() {
    for api in [held_by(""), ApiServer::new()] {
        let (mut a, _) = elect(&api, "a", Rival(api.clone()));
        assert!(!a.turn().await.unwrap());
        assert_eq!(holder(&api).as_deref(), Some("rival"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_the_other_starts() {
    let api = ApiServer::new();
    let is_cut_off = Arc::new(AtomicBool::new(false));
    let cut_off = is_cut_off.clone();
    let path =
        move |_: &Call| if cut_off.load(Ordering::SeqCst) { Verdict::LoseBefore } else { Verdict::Pass };
    let (a, mut a_leads) = elect(&api, "a", path);
    let (b, mut b_leads) = election(&api, "b");
    let running = [
        tokio::spawn(a.run(Arc::default(), "", |_| None)),
        tokio::spawn(b.run(Arc::default(), "", |_| None)),
    ];
    a_leads.gained().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(a_leads.holds(clock::monotonic()) && !b_leads.holds(clock::monotonic()));

    is_cut_off.store(true, Ordering::SeqCst);
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
    let api = ApiServer::new();
    let (a, mut a_leads) = election(&api, "a");
    let stop = Arc::new(Notify::new());
    let running = tokio::spawn(a.run(stop.clone(), "", |_| None));
    a_leads.gained().await;
    stop.notify_one();
    running.await.unwrap();
    assert_eq!(holder(&api), None);
    assert!(!a_leads.holds(clock::monotonic()));
}

/// A replica hears no pod from a moment on, while it leads.
fn unheard_from(leads: &Leadership, begins: Instant) -> impl Fn(Instant) -> Option<Duration> + use<> {
    let leads = leads.clone();
    move |now| (leads.holds(now) && begins <= now).then(|| now - begins)
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_no_pod_leaves_the_lease_to_one_that_does() {
    let api = ApiServer::new();
    let (a, mut a_leads) = election(&api, "a");
    let (b, mut b_leads) = election(&api, "b");
    let a_hears_nobody = unheard_from(&a_leads, clock::monotonic() + Duration::from_mins(1));
    let running = [
        tokio::spawn(a.run(Arc::default(), "it hears no pod", a_hears_nobody)),
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
    assert_eq!(holder(&api).as_deref(), Some("b"), "and it stays there");
    for task in running {
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_no_pod_leads_again_where_nobody_else_does() {
    let api = ApiServer::new();
    let (a, mut leads) = election(&api, "a");
    let hears_nobody = unheard_from(&leads, clock::monotonic());
    let running = tokio::spawn(a.run(Arc::default(), "it hears no pod", hears_nobody));
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
