//! Lists and watches as an API server answers them, one object that is not as it should be among them.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::de::Error as _;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::testing::{Answer, Call, Fake, refusal};

/// Keeps objects that have containers, and of those with owners none without one.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<Key, Value>>);

impl Sink<Value> for Kept {
    fn read(&self, text: &str) -> Result<Option<Value>, serde_json::Error> {
        let object: Value = serde_json::from_str(text)?;
        if !object["spec"]["containers"].is_array() {
            return Err(serde_json::Error::custom(text));
        }
        Ok((object["metadata"]["ownerReferences"] != json!([])).then_some(object))
    }
    fn knows(&self, key: &Key, version: &str) -> bool {
        self.0.lock().get(key).is_some_and(|known| known["metadata"]["resourceVersion"] == version)
    }
    fn key(&self, object: &Value) -> Key {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        Key::new(text("namespace"), text("name"))
    }
    fn listing(&self, _: &Scope) {}
    fn list(&self, objects: Vec<Value>) {
        for object in objects {
            self.apply(object);
        }
    }
    fn listed(&self, scope: &Scope, listed: &BTreeSet<Key>) {
        self.0.lock().retain(|key, _| !scope.holds(key) || listed.contains(key));
    }
    fn apply(&self, object: Value) {
        self.0.lock().insert(self.key(&object), object);
    }
    fn gone(&self, key: &Key) {
        self.0.lock().remove(key);
    }
    fn gone_if_known(&self, key: &Key) {
        self.gone(key);
    }
}

fn what(path: &str) -> What {
    What { path: path.to_owned(), ..What::default() }
}

/// A pod of somebody's, with a secret in its environment.
fn foreign(name: &str, version: u64) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "n", "uid": name, "resourceVersion": version.to_string(),
            "managedFields": [{"time": "9999-12-31T23:59:59Z"}]
        },
        "spec": {"nodeName": "a", "containers": [{"env": [{"name": "TOKEN", "value": "hunter2"}]}]}
    })
}

/// The same, in a form that cannot be read.
fn unreadable(name: &str) -> Value {
    let mut pod = foreign(name, 3);
    pod["spec"]["containers"] = json!("hunter2");
    pod
}

fn list(items: &[Value], version: &str, token: Option<&str>) -> Answer {
    Answer::Reply(200, json!({"metadata": {"resourceVersion": version, "continue": token}, "items": items}))
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn is_watch(call: &Call) -> bool {
    call.path.contains("watch=true")
}

fn has(kept: &Kept, name: &str) -> bool {
    kept.0.lock().contains_key(&Key::new("n", name))
}

/// Follows the pods for so long.
async fn follow_for(seconds: u64, server: &Fake, kept: &Kept) -> Vec<String> {
    let errors = Mutex::new(Vec::new());
    let report = |broken: &Broken| errors.lock().push(broken.to_string());
    let follow = follow(server.client(), what("/api/v1/pods"), kept, report);
    let _ = tokio::time::timeout(Duration::from_secs(seconds), follow).await;
    errors.into_inner()
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_does_not_hide_the_others() {
    let server = Fake::new(|call| {
        if is_watch(call) {
            let text = event("ADDED", &unreadable("bad-too")) + &event("ADDED", &foreign("late", 9));
            return Answer::Stream(200, text);
        }
        list(&[foreign("good", 1), unreadable("bad"), foreign("fine", 2)], "5", None)
    });
    let kept = Kept::default();
    follow_for(1, &server, &kept).await;
    for (name, there) in [("good", true), ("bad", false), ("fine", true), ("bad-too", false), ("late", true)]
    {
        assert_eq!(has(&kept, name), there, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_known_stays_as_it_was_when_it_cannot_be_read_any_more() {
    let server =
        Fake::new(|call| if is_watch(call) { Answer::Silence } else { list(&[unreadable("x")], "5", None) });
    let kept = Kept::default();
    kept.apply(foreign("x", 1));
    kept.apply(foreign("gone", 1));
    follow_for(1, &server, &kept).await;
    assert!(has(&kept, "x") && !has(&kept, "gone"));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_was_gone_is_listed_again_for_others_may_be_there() {
    for (code, listed_again) in [(404, true), (410, true), (500, false)] {
        let server = Fake::new(move |call| {
            if is_watch(call) { refusal(code, "Any", "no") } else { list(&[foreign("x", 1)], "5", None) }
        });
        follow_for(20, &server, &Kept::default()).await;
        let lists = server.calls().iter().filter(|call| !is_watch(call)).count();
        assert_eq!(lists > 1, listed_again, "{code}: {lists} lists");
    }
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_a_list_are_read_and_a_watch_goes_on_from_where_it_was() {
    let server = Fake::new(|call| {
        if is_watch(call) {
            return if call.path.contains("resourceVersion=7") {
                let mark = json!({"metadata": {"resourceVersion": "20", "creationTimestamp": null}});
                Answer::Stream(
                    200,
                    event("MODIFIED", &foreign("a", 9)) + &event("BOOKMARK", &mark) + "{\"type\":\"ADD",
                )
            } else {
                Answer::Stream(200, event("DELETED", &foreign("b", 21)))
            };
        }
        if call.path.contains("continue=next") {
            list(&[foreign("b", 2)], "7", None)
        } else {
            list(&[foreign("a", 1)], "7", Some("next"))
        }
    });
    let kept = Kept::default();
    let errors = follow_for(1, &server, &kept).await;
    assert_eq!(errors, Vec::<String>::new());
    assert!(has(&kept, "a") && !has(&kept, "b"));
    let paths: Vec<String> = server.calls().into_iter().map(|call| call.path).collect();
    assert!(paths[3].contains("watch=true") && paths[3].contains("resourceVersion=20"), "{paths:?}");
    assert!(paths[4].contains("resourceVersion=21"), "{paths:?}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_resource_version_is_followed_by_a_list() {
    for gone in [
        Answer::Reply(410, json!({"kind": "Status", "status": "Failure", "code": 410, "message": "too old"})),
        Answer::Stream(200, event("ERROR", &json!({"status": "Failure", "code": 410, "message": "too old"}))),
    ] {
        let server = Fake::new(move |call| if is_watch(call) { gone.clone() } else { list(&[], "7", None) });
        let errors = follow_for(1, &server, &Kept::default()).await;
        assert_eq!(errors, ["the API server says 410: too old"; 2]);
        let lists = server.calls().iter().filter(|call| !is_watch(call)).count();
        assert_eq!(lists, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn another_failure_of_a_watch_needs_no_new_list() {
    let server = Fake::new(|call| {
        if is_watch(call) { Answer::Reply(500, json!("a proxy's page")) } else { list(&[], "7", None) }
    });
    let errors = follow_for(2, &server, &Kept::default()).await;
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(server.calls().iter().filter(|call| !is_watch(call)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let server = Fake::new(|call| {
        if is_watch(call) {
            return Answer::Silence;
        }
        let mut pod = foreign("a", 1);
        if call.path.contains("limit=250") || call.path.contains("limit=125") {
            pod["spec"]["hostname"] = json!("x".repeat(usize::try_from(LARGEST_PAGE).unwrap()));
        }
        list(&[pod], "7", None)
    });
    let kept = Kept::default();
    assert_eq!(follow_for(1, &server, &kept).await, Vec::<String>::new());
    assert!(has(&kept, "a"));
    assert!(server.calls()[2].path.contains("limit=63"));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_none_of_those_that_are_kept_any_more_is_gone() {
    let (mut ours, mut orphan) = (foreign("f", 8), foreign("f", 9));
    (ours["metadata"]["ownerReferences"], orphan["metadata"]["ownerReferences"]) = (json!(["u"]), json!([]));
    let server = Fake::new(move |call| match (is_watch(call), call.path.contains("resourceVersion=7")) {
        (true, true) => Answer::Stream(200, event("ADDED", &ours)),
        (true, false) => Answer::Stream(200, event("MODIFIED", &orphan)),
        (false, _) => list(&[], "7", None),
    });
    let kept = Kept::default();
    let mut follow = Box::pin(follow(server.client(), what("/pods"), &kept, |_| {}));
    let there = || kept.0.lock().len();
    let _ = tokio::time::timeout(AGAIN / 2, &mut follow).await;
    assert_eq!(there(), 1);
    let _ = tokio::time::timeout(AGAIN, &mut follow).await;
    assert_eq!(there(), 0);
}

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_foreign_object_is_ever_logged() {
    let logged = Logged::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(logged.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Fake::new(|call| {
        let many: Vec<Value> = (0..3 * NAMED).map(|number| unreadable(&format!("bad-{number}"))).collect();
        match (is_watch(call), call.path.contains("/nodes")) {
            (true, false) => Answer::Stream(200, many.iter().map(|pod| event("ADDED", pod)).collect()),
            (false, false) => list(&many, "5", None),
            // No list at all, and no JSON.
            (_, true) => Answer::Stream(200, "hunter2".to_owned()),
        }
    });
    let kept = Kept::default();
    let report = |broken: &Broken| warn!(error = %broken, "a watch failed");
    let (pods, nodes) = (what("/api/v1/pods"), what("/api/v1/nodes"));
    let _ = tokio::time::timeout(Duration::from_secs(5), follow(server.client(), pods, &kept, report)).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), follow(server.client(), nodes, &kept, report)).await;
    let logged = String::from_utf8(logged.0.lock().clone()).unwrap();
    assert!(logged.contains("n/bad-7") && logged.contains("a watch failed"), "{logged}");
    assert!(!logged.contains("hunter2"), "{logged}");
    assert_eq!(
        logged.matches("cannot be read and is left").count(),
        NAMED,
        "each once, and not without an end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_connection_broke_without_a_word_goes_on_from_where_it_was() {
    let server = Fake::new(|call| {
        if !is_watch(call) {
            return list(&[foreign("good", 1)], "5", None);
        }
        let first = call.path.contains("resourceVersion=5");
        Answer::Open(200, if first { event("ADDED", &foreign("late", 9)) } else { String::new() })
    });
    let kept = Kept::default();
    assert_eq!(follow_for(3 * 60, &server, &kept).await, Vec::<String>::new());
    let watches: Vec<String> = server.calls().into_iter().filter(is_watch).map(|call| call.path).collect();
    assert_eq!(watches.len(), 2, "within two minutes, not only when the watch should have ended");
    assert!(watches.last().unwrap().contains("resourceVersion=9"), "no list is needed: {watches:?}");
    assert_eq!(server.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_restored_from_a_backup_is_listed_again() {
    // Versions go back from 9 to 4 after the first list: whoever watches from 9 on hears nothing.
    let lists = AtomicUsize::new(0);
    let server = Fake::new(move |call| {
        if is_watch(call) {
            let known = call.path.contains("resourceVersion=4");
            return Answer::Open(200, if known { event("ADDED", &foreign("new", 5)) } else { String::new() });
        }
        match lists.fetch_add(1, Ordering::Relaxed) {
            0 => list(&[foreign("x", 8), foreign("y", 9)], "9", None),
            _ => list(&[foreign("x", 2)], "4", None),
        }
    });
    let kept = Kept::default();
    assert_eq!(follow_for(3 * 60, &server, &kept).await, Vec::<String>::new());
    assert!(has(&kept, "x") && has(&kept, "new") && !has(&kept, "y"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_brings_anything_ends_in_a_list() {
    let server = Fake::new(|call| {
        if is_watch(call) { Answer::Open(200, String::new()) } else { list(&[foreign("x", 2)], "9", None) }
    });
    follow_for(5 * 60, &server, &Kept::default()).await;
    let lists = server.calls().iter().filter(|call| !is_watch(call)).count();
    assert_eq!(lists, 3, "one for each silence");
}
