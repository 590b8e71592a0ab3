//! kube's own watcher, recorder and typed calls on the simulated API server, in paused time, with faults.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Event as CoreEvent, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event as Note, EventType, Recorder, Reporter};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use rayfleet_sim_kube::api::{
    ApiServer, Call, EventVerdict, Interceptor, Kind, ListVerdict, Passthrough, Verb, Verdict,
};
use serde_json::{Value, json};

/// Verdicts, in the order in which they are returned; then none.
#[derive(Default)]
struct Script {
    calls: Mutex<VecDeque<(Verb, Verdict)>>,
    events: Mutex<VecDeque<EventVerdict>>,
    lists: Mutex<VecDeque<ListVerdict>>,
    reported: Mutex<Vec<(Verb, u16)>>,
}

impl Interceptor for Script {
    fn judge(&self, call: &Call) -> Verdict {
        let mut calls = self.calls.lock().unwrap();
        let due = calls.front().is_some_and(|(verb, _)| *verb == call.verb);
        if due { calls.pop_front().unwrap().1 } else { Verdict::Pass }
    }

    fn applied(&self, call: &Call, code: u16) {
        self.reported.lock().unwrap().push((call.verb, code));
    }

    fn event(&self, _: &Call, _: &Value) -> EventVerdict {
        self.events.lock().unwrap().pop_front().unwrap_or(EventVerdict::Deliver)
    }

    fn list(&self, _: &Call) -> ListVerdict {
        self.lists.lock().unwrap().pop_front().unwrap_or(ListVerdict::Fresh)
    }
}

fn bench() -> (ApiServer, Arc<Script>, Api<ConfigMap>) {
    let (server, script) = (ApiServer::new(), Arc::new(Script::default()));
    let api = Api::namespaced(server.client("test", "default", script.clone()), "default");
    (server, script, api)
}

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"namespace": "default", "name": name, "labels": {"color": value}}, "data": {"v": value}})
}

fn put(server: &ApiServer, name: &str, value: &str) {
    if server.get(&Kind::CONFIG_MAP, "default", name).is_some() {
        server.merge_patch(&Kind::CONFIG_MAP, "default", name, &map(name, value)).unwrap();
    } else {
        server.create(&Kind::CONFIG_MAP, map(name, value)).unwrap();
    }
}

type Words = BoxStream<'static, String>;

/// The events of a watcher, in short: `+a=1` applied, `-a` deleted, `[ .a=1 ]` a list, `!410` an error.
fn words(api: &Api<ConfigMap>, config: watcher::Config) -> Words {
    let value = |map: &ConfigMap| map.data.clone().unwrap_or_default()["v"].clone();
    watcher(api.clone(), config)
        .default_backoff()
        .into_stream()
        .map(move |event| match event {
            Ok(watcher::Event::Init) => "[".to_owned(),
            Ok(watcher::Event::InitApply(map)) => format!(".{}={}", map.name_any(), value(&map)),
            Ok(watcher::Event::InitDone) => "]".to_owned(),
            Ok(watcher::Event::Apply(map)) => format!("+{}={}", map.name_any(), value(&map)),
            Ok(watcher::Event::Delete(map)) => format!("-{}", map.name_any()),
            Err(watcher::Error::WatchError(status)) => format!("!{}", status.code),
            Err(error) => format!("!{error}"),
        })
        .boxed()
}

async fn take(words: &mut Words, count: usize) -> String {
    let taken = tokio::time::timeout(Duration::from_hours(1), words.take(count).collect::<Vec<String>>());
    taken.await.unwrap().join(" ")
}

async fn quiet(words: &mut Words) {
    let waited = tokio::time::timeout(Duration::from_secs(5), words.next()).await;
    assert_eq!(waited.ok(), None, "no more events follow");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_lists_and_follows() {
    let (server, _, api) = bench();
    put(&server, "a", "1");
    let mut said = words(&api, watcher::Config::default());
    assert_eq!(take(&mut said, 3).await, "[ .a=1 ]");
    quiet(&mut said).await;
    put(&server, "b", "2");
    put(&server, "a", "3");
    server.remove(&Kind::CONFIG_MAP, "default", "b").unwrap();
    assert_eq!(take(&mut said, 3).await, "+b=2 +a=3 -b");
    quiet(&mut said).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_times_out_resumes_at_its_version() {
    let (server, script, api) = bench();
    let mut said = words(&api, watcher::Config::default().timeout(20));
    assert_eq!(take(&mut said, 2).await, "[ ]");
    let waited = tokio::time::timeout(Duration::from_secs(90), said.next()).await;
    assert!(waited.is_err());
    put(&server, "a", "1");
    assert_eq!(take(&mut said, 1).await, "+a=1");
    let watches = script.reported.lock().unwrap().iter().filter(|(verb, _)| *verb == Verb::Watch).count();
    assert_eq!(watches, 5, "of 20 s in 90 s");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_keep_a_quiet_watch_from_expiring() {
    let (server, _, api) = bench();
    put(&server, "gone", "1");
    let mut said = words(&api, watcher::Config::default().timeout(90));
    assert_eq!(take(&mut said, 3).await, "[ .gone=1 ]");
    quiet(&mut said).await;
    // The labels below do not match, so only bookmarks advance this watch's version.
    let mut chosen = words(&api, watcher::Config::default().timeout(90).labels("color=red"));
    assert_eq!(take(&mut chosen, 2).await, "[ ]");
    quiet(&mut chosen).await;
    put(&server, "a", "2");
    put(&server, "b", "3");
    let waited = tokio::time::timeout(Duration::from_secs(70), chosen.next()).await;
    assert!(waited.is_err());
    server.compact(0);
    let waited = tokio::time::timeout(Duration::from_secs(200), chosen.next()).await;
    assert!(waited.is_err(), "{waited:?}");
    put(&server, "c", "red");
    assert_eq!(take(&mut chosen, 1).await, "+c=red");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_with_an_expired_version_lists_again() {
    let (server, script, api) = bench();
    put(&server, "a", "1");
    let mut said = words(&api, watcher::Config::default());
    assert_eq!(take(&mut said, 3).await, "[ .a=1 ]");
    quiet(&mut said).await;
    script.events.lock().unwrap().push_back(EventVerdict::Break);
    put(&server, "b", "2");
    put(&server, "c", "3");
    server.remove(&Kind::CONFIG_MAP, "default", "a").unwrap();
    server.compact(1);
    assert_eq!(take(&mut said, 5).await, "!410 [ .b=2 .c=3 ]");
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_loses_no_events() {
    let (server, script, api) = bench();
    let mut said = words(&api, watcher::Config::default());
    assert_eq!(take(&mut said, 2).await, "[ ]");
    script.events.lock().unwrap().extend([EventVerdict::Break, EventVerdict::Twice]);
    put(&server, "a", "1");
    put(&server, "b", "2");
    assert_eq!(take(&mut said, 3).await, "+a=1 +a=1 +b=2");
    quiet(&mut said).await;
}

#[tokio::test(start_paused = true)]
async fn an_injected_expiry_makes_the_watch_list_again() {
    let (server, script, api) = bench();
    put(&server, "a", "1");
    let mut said = words(&api, watcher::Config::default());
    assert_eq!(take(&mut said, 3).await, "[ .a=1 ]");
    script.events.lock().unwrap().push_back(EventVerdict::Expire);
    server.remove(&Kind::CONFIG_MAP, "default", "a").unwrap();
    put(&server, "b", "2");
    assert_eq!(take(&mut said, 4).await, "!410 [ .b=2 ]");
    put(&server, "c", "3");
    assert_eq!(take(&mut said, 1).await, "+c=3");
}

#[tokio::test(start_paused = true)]
async fn late_events_come_in_order() {
    let (server, script, api) = bench();
    let mut said = words(&api, watcher::Config::default());
    assert_eq!(take(&mut said, 2).await, "[ ]");
    script.events.lock().unwrap().push_back(EventVerdict::Delay(Duration::from_secs(30)));
    put(&server, "a", "1");
    put(&server, "b", "2");
    quiet(&mut said).await;
    assert_eq!(take(&mut said, 2).await, "+a=1 +b=2");
}

#[tokio::test(start_paused = true)]
async fn the_watch_catches_up_after_a_stale_list() {
    let (server, script, api) = bench();
    put(&server, "a", "1");
    put(&server, "a", "2");
    script.lists.lock().unwrap().push_back(ListVerdict::Stale { behind: 1 });
    let mut said = words(&api, watcher::Config::default());
    assert_eq!(take(&mut said, 4).await, "[ .a=1 ] +a=2");
}

#[tokio::test(start_paused = true)]
async fn label_changes_add_and_remove_objects() {
    let (server, _, api) = bench();
    put(&server, "a", "red");
    let mut said = words(&api, watcher::Config::default().labels("color=red"));
    assert_eq!(take(&mut said, 3).await, "[ .a=red ]");
    quiet(&mut said).await;
    put(&server, "a", "blue");
    put(&server, "b", "blue");
    put(&server, "b", "red");
    assert_eq!(take(&mut said, 2).await, "-a +b=red");
}

#[tokio::test(start_paused = true)]
async fn streaming_lists_and_small_pages_have_the_same_result() {
    let (server, _, api) = bench();
    for name in ["a", "b", "c"] {
        put(&server, name, "1");
    }
    for config in [watcher::Config::default().streaming_lists(), watcher::Config::default().page_size(2)] {
        let mut said = words(&api, config);
        assert_eq!(take(&mut said, 5).await, "[ .a=1 .b=1 .c=1 ]");
        quiet(&mut said).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lost_calls_hang_whether_executed_or_not() {
    let (server, script, api) = bench();
    let lost = [(Verb::Create, Verdict::LoseBefore), (Verb::Create, Verdict::LoseAfter)];
    script.calls.lock().unwrap().extend(lost);
    for (name, there) in [("before", false), ("after", true)] {
        let object: ConfigMap = serde_json::from_value(map(name, "1")).unwrap();
        let parameters = PostParams::default();
        let call = tokio::time::timeout(Duration::from_mins(1), api.create(&parameters, &object));
        assert!(call.await.is_err(), "no answer");
        assert_eq!(server.get(&Kind::CONFIG_MAP, "default", name).is_some(), there, "{name}");
    }
    assert_eq!(*script.reported.lock().unwrap(), [(Verb::Create, 201)]);
    let writes = server.writes(0);
    assert_eq!(writes.len(), 1);
    let call = &writes[0].call;
    assert_eq!((call.name.as_str(), call.who.as_str(), writes[0].code), ("after", "test", 201));
    assert_eq!(server.counts()[&("test".to_owned(), Verb::Create, Kind::CONFIG_MAP)], 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_returned_unless_the_client_retries() {
    let (server, script, api) = bench();
    let refuse = |code, reason| (Verb::Get, Verdict::Refuse { code, reason });
    script.calls.lock().unwrap().extend([refuse(500, "InternalError"), refuse(429, "TooManyRequests")]);
    put(&server, "a", "1");
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 500), "{error}");
    let started = server.now();
    assert_eq!(api.get("a").await.unwrap().name_any(), "a");
    assert_eq!(server.now().duration_since(started).as_secs(), 1, "the client waited as Retry-After demands");
}

#[tokio::test(start_paused = true)]
async fn typed_calls_work_as_on_a_real_server() {
    let (server, script, _) = bench();
    let pods: Api<Pod> = Api::namespaced(server.client("test", "default", script), "default");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let made = pods.create(&PostParams::default(), &pod).await.unwrap();
    for uid in [made.uid().unwrap(), "another".to_owned()] {
        let conditions = json!([{"type": "rayfleet/serving", "status": "True"}]);
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": conditions}});
        let patched = pods.patch_status("p", &PatchParams::default(), &Patch::Strategic(&patch)).await;
        assert_eq!(patched.is_ok(), Some(&uid) == made.uid().as_ref(), "{uid}");
    }
    assert_eq!(pods.get("p").await.unwrap().status.unwrap().conditions.unwrap().len(), 1);
    let preconditions = Preconditions { uid: made.uid(), resource_version: made.resource_version() };
    let stale = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    assert!(matches!(pods.delete("p", &stale).await, Err(kube::Error::Api(status)) if status.code == 409));
    assert!(pods.delete("p", &DeleteParams::default()).await.unwrap().is_left(), "answered with the pod");
    assert!(pods.get_opt("p").await.unwrap().is_none());
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_recorder_s_events_appear_in_the_core_group() {
    let (server, script, _) = bench();
    let client = server.client("test", "default", script);
    let map: ConfigMap = serde_json::from_value(map("a", "1")).unwrap();
    let recorder = Recorder::new(client.clone(), Reporter { controller: "rayfleet".into(), instance: None });
    let note = Note {
        type_: EventType::Warning,
        reason: "Why".into(),
        note: Some("because".into()),
        action: "Do".into(),
        secondary: None,
    };
    for _ in 0..2 {
        recorder.publish(&note, &map.object_ref(&())).await.unwrap();
    }
    let events: Api<CoreEvent> = Api::all(client);
    let chosen = ListParams::default().fields("involvedObject.kind=ConfigMap,type=Warning");
    let list = events.list(&chosen).await.unwrap();
    assert_eq!(list.items.len(), 1, "emitted twice, stored as a series");
    assert_eq!(list.items[0].message.as_deref(), Some("because"));
    assert_eq!(list.items[0].series.as_ref().unwrap().count, Some(2));
    let others = events.list(&ListParams::default().fields("type=Normal")).await.unwrap();
    assert!(others.items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_installed_is_not_found() {
    let server = ApiServer::new();
    server.create(&Kind::RAY_CLUSTER, json!({"metadata": {"namespace": "default", "name": "r"}})).unwrap();
    let kind = kube::core::GroupVersionKind::gvk("ray.io", "v1", "RayCluster");
    let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "rayclusters");
    let client = server.client("test", "default", Arc::new(Passthrough));
    let api: Api<kube::core::DynamicObject> = Api::all_with(client, &resource);
    let mut events = watcher(api.clone(), watcher::Config::default()).boxed();
    for _ in 0..3 {
        events.try_next().await.unwrap();
    }
    let next = tokio::spawn(async move { (events.try_next().await, events.try_next().await) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.uninstall(&Kind::RAY_CLUSTER);
    let (deleted, after) = next.await.unwrap();
    assert!(matches!(deleted, Ok(Some(watcher::Event::Delete(_)))), "{deleted:?}");
    let error = after.unwrap_err();
    let not_found = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
    assert!(matches!(&error, watcher::Error::WatchStartFailed(cause) if not_found(cause)), "{error:?}");
    assert!(not_found(&api.list(&ListParams::default()).await.unwrap_err()));
    server.install(&Kind::RAY_CLUSTER);
    assert!(api.list(&ListParams::default()).await.unwrap().items.is_empty());
}
