//! One watch: the changes of a kind after a version, as lines of JSON, with bookmarks and injected faults.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::instant;
use super::intercept::{Call, EventVerdict, Interceptor};
use super::log::{Change, ChangeType};
use super::selector::Selector;
use super::server::ApiServer;
use super::{Refusal, convert, fields, meta};

/// Event type that reports the version reached, without an object.
const BOOKMARK: &str = "BOOKMARK";
/// Interval of bookmarks.
const BOOKMARKS: Duration = Duration::from_mins(1);
/// Timeout of a watch that sets none.
pub(super) const LONGEST: Duration = Duration::from_mins(30);

#[derive(Clone, Debug)]
pub(super) struct WatchOptions {
    pub(super) selector: Selector,
    /// Version to start after; 0: with all existing objects.
    pub(super) version: u64,
    pub(super) bookmarks: bool,
    /// Send all existing objects first, then a bookmark that marks their end.
    pub(super) initial: bool,
    pub(super) timeout: Duration,
    pub(super) partial: bool,
}

struct Event {
    name: &'static str,
    object: Arc<Value>,
}

/// An event as serialized.
#[derive(Serialize)]
struct Sent<'a> {
    object: &'a Value,
    r#type: &'a str,
}

pub(super) struct Watch {
    server: ApiServer,
    call: Call,
    interceptor: Arc<dyn Interceptor>,
    options: WatchOptions,
    position: u64,
    ends: Instant,
    bookmark: Instant,
    lines: VecDeque<Bytes>,
    waiting: VecDeque<(Event, u64)>,
    over: bool,
}

impl Watch {
    pub(super) fn new(
        server: ApiServer,
        call: Call,
        interceptor: Arc<dyn Interceptor>,
        options: WatchOptions,
    ) -> Self {
        let now = instant();
        let mut watch = Self {
            position: options.version,
            ends: now + options.timeout,
            bookmark: now + BOOKMARKS,
            lines: VecDeque::new(),
            waiting: VecDeque::new(),
            over: false,
            server,
            call,
            interceptor,
            options,
        };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        let kind = self.call.kind;
        let (now, known, expired) = self.server.with(|store| {
            (store.version, store.knows(&kind, self.position), store.expired(&self.call.who, &kind))
        });
        if self.options.initial || self.options.version == 0 {
            let there = self.server.with(|store| store.all(&kind).cloned().collect::<Vec<_>>());
            let chosen = there.iter().filter(|object| self.selects(object));
            let events: Vec<_> = chosen
                .map(|object| (self.event(ChangeType::Added.as_str(), object), self.options.version))
                .collect();
            self.waiting.extend(events);
            self.position = now;
            if self.options.initial && self.options.bookmarks {
                let mut end = self.mark_at(now);
                end["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                self.waiting.push_back((bookmark(end), now));
            }
            return;
        }
        let oldest = known.err().map_or(0, |compacted| compacted.oldest).max(expired);
        if self.position < oldest {
            let words = format!("too old resource version: {} ({oldest})", self.position);
            let object = Arc::new(Refusal::expired(words).status());
            self.lines.push_back(line(&Event { name: "ERROR", object }));
            self.over = true;
        }
    }

    fn selects(&self, object: &Value) -> bool {
        let namespace = &self.call.namespace;
        (namespace.is_empty() || fields::namespace(object) == namespace)
            && (self.call.name.is_empty() || fields::name(object) == self.call.name)
            && self.options.selector.matches(object)
    }

    fn event(&self, name: &'static str, object: &Arc<Value>) -> Event {
        let object = if self.options.partial {
            Arc::new(meta::partial(object))
        } else {
            convert::shown(&self.call.kind, object)
        };
        Event { name, object }
    }

    /// The object of a bookmark.
    fn mark_at(&self, version: u64) -> Value {
        let kind = &self.call.kind;
        json!({
            "kind": kind.kind, "apiVersion": kind.api_version(),
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        })
    }

    /// The event of a change in this watch: an object is also added or deleted when the selector begins or
    /// ceases to match.
    fn seen(&self, change: &Change) -> Option<Event> {
        let before = change.before.as_ref().is_some_and(|before| self.selects(before));
        let after = change.change != ChangeType::Deleted && self.selects(&change.object);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(self.event("ADDED", &change.object)),
            (true, true) => Some(self.event("MODIFIED", &change.object)),
            (true, false) if change.change == ChangeType::Deleted => {
                Some(self.event("DELETED", &change.object))
            }
            (true, false) => {
                // Its last state that matched, with the version of the change.
                let mut last = change.before.as_deref().cloned().unwrap_or_default();
                let version = json!(change.version.to_string());
                fields::metadata(&mut last).insert("resourceVersion".to_owned(), version);
                Some(self.event("DELETED", &Arc::new(last)))
            }
        }
    }

    /// The next line; `None` when the watch has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            if let Some((event, version)) = self.waiting.pop_front() {
                self.send(event, version).await;
                continue;
            }
            let server = self.server.clone();
            let changed = server.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if instant() >= self.ends {
                self.over = true;
                continue;
            }
            if self.advance() {
                continue;
            }
            let ticked = tokio::select! {
                biased;
                () = &mut changed => false,
                () = sleep_until(self.bookmark.min(self.ends)) => true,
            };
            if ticked {
                self.tick();
            }
        }
    }

    /// Processes the next change. Returns whether there was one, or the watch is over.
    fn advance(&mut self) -> bool {
        let kind = self.call.kind;
        let position = self.position;
        let (now, next, installed) =
            self.server.with(|store| (store.version, store.next(&kind, position), store.installed(&kind)));
        match next {
            Ok(Some(change)) => {
                self.position = change.version;
                if let Some(event) = self.seen(&change) {
                    self.waiting.push_back((event, change.version));
                }
                true
            }
            // Compaction does not affect a watch that is up to date. A future version is waited for.
            Ok(None) if installed => {
                self.position = now.max(position);
                false
            }
            // It fell too far behind, or the kind was removed.
            Err(_) | Ok(None) => {
                self.over = true;
                true
            }
        }
    }

    fn tick(&mut self) {
        if instant() >= self.bookmark {
            self.bookmark += BOOKMARKS;
            if self.options.bookmarks {
                self.lines.push_back(line(&bookmark(self.mark_at(self.position))));
            }
        }
    }

    async fn send(&mut self, event: Event, version: u64) {
        let text = line(&event);
        let verdict = if event.name == BOOKMARK {
            EventVerdict::Deliver
        } else {
            self.interceptor.event(&self.call, &event.object)
        };
        match verdict {
            EventVerdict::Deliver => self.lines.push_back(text),
            EventVerdict::Twice => self.lines.extend([text.clone(), text]),
            EventVerdict::Delay(wait) => {
                sleep(wait).await;
                self.lines.push_back(text);
            }
            EventVerdict::Break => self.over = true,
            EventVerdict::Expire => {
                let (who, kind) = (&self.call.who, &self.call.kind);
                self.server.with(|store| store.expire(who, kind, version));
                self.over = true;
            }
        }
    }

    /// The lines, as a streamed body.
    pub(super) fn stream(self) -> impl Stream<Item = Result<http_body::Frame<Bytes>, Infallible>> + Send {
        futures::stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            Some((Ok(http_body::Frame::data(line)), watch))
        })
    }
}

fn bookmark(object: Value) -> Event {
    Event { name: BOOKMARK, object: Arc::new(object) }
}

fn line(event: &Event) -> Bytes {
    // A JSON value can always be serialized.
    let sent = Sent { object: &event.object, r#type: event.name };
    let mut text = serde_json::to_vec(&sent).unwrap_or_default();
    text.push(b'\n');
    Bytes::from(text)
}
