//! One watch: a list in pages, then its changes, over and over. kube's own watcher reads a page as a whole: one object that it cannot
//! read ends it for all, and its client then logs the page. Here each object is read by itself, in the form in which it is kept, and
//! what is logged about one that cannot be read is its name. Nothing here looks at what the objects mean.

mod scope;
mod stub;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::io::AsyncBufReadExt as _;
use futures::{AsyncBufRead, AsyncReadExt as _};
use http::{HeaderValue, Request, header};
use kube::Client;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request as Builder, Status};
use rayfleet_text::cut;
use rayfleet_text::pieces::{ListMeta, Page, fields};
use serde::Deserialize;
use tracing::{debug, warn};

pub use self::scope::Scope;
pub use self::stub::Stub;
use crate::Key;
use crate::backoff::Growing;

/// Longest time until the answer to a list or to a watch begins, and for a page of a list to arrive. A request that got lost is answered
/// by nobody: without an end the watch would bring nothing for ever. An API server gives up a list after this time itself.
pub const ANSWER: Duration = Duration::from_mins(1);
/// How long a watch is asked for, in seconds. The API server ends it then.
const WATCH: u32 = 290;
/// A watch that is silent for so long may be dead: a connection that broke without a word delivers nothing and ends never. An API server
/// sends a bookmark about once a minute (`bookmarkFrequency` of its watch cache); where it sends none, as for events, asking again from the
/// last version costs one call.
const SILENCE: Duration = Duration::from_secs(100);
/// Watches in a row that brought nothing at all, after which the kind is listed again. Whoever waits for versions that the API server does
/// not have, after its store was restored from a backup, hears nothing for ever, not even a bookmark.
const MUTE: u32 = 1;
/// The same where no bookmarks are sent (`/events`): nothing may have happened.
const MUTE_WITHOUT_BOOKMARKS: u32 = 10;
/// Wait before a watch that has ended is asked for again.
const AGAIN: Duration = Duration::from_millis(50);
/// Objects in a page of a list.
const PAGE: u32 = 250;
/// Largest page, in bytes: one that is larger is asked for again with half as many objects.
const LARGEST_PAGE: u64 = 32 << 20;
/// Largest event of a watch, in bytes. etcd keeps no object a tenth of this size.
const LARGEST_EVENT: u64 = 16 << 20;
/// Unreadable objects that are named in the log, for each watch.
const NAMED: usize = 100;
/// Longest answer of an API server that is kept, in bytes.
const LONGEST_WORDS: usize = 512;

/// What objects of a kind are delivered to, and how they are read.
pub trait Sink<T> {
    /// Reads one object. `None`: it is none that is kept.
    ///
    /// # Errors
    /// It is not what an object of this kind looks like. The error may quote the object: it is not logged.
    fn read(&self, text: &str) -> Result<Option<T>, serde_json::Error>;
    /// Whether the object of this key is known at this version, so that it need not be read: who writes objects has read them then.
    fn knows(&self, _key: &Key, _version: &str) -> bool {
        false
    }
    /// The key of an object.
    fn key(&self, object: &T) -> Key;
    /// A list is about to be asked for.
    fn listing(&self, scope: &Scope);
    /// Objects of a list that is being read.
    fn list(&self, objects: Vec<T>);
    /// A list was read to its end: what was not in it is gone.
    fn listed(&self, scope: &Scope, listed: &BTreeSet<Key>);
    /// An object was created or changed.
    fn apply(&self, object: T);
    /// An object is not there any more.
    fn gone(&self, key: &Key);
    /// An object is none of those that are kept, or not any more.
    fn gone_if_known(&self, key: &Key);
}

/// Why a list or a watch ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// No answer, or not all of it.
    #[error("the API server did not answer within {ANSWER:?}")]
    Unanswered,
    /// The API server said no. Only its code and its own words.
    #[error("the API server says {}: {}", .0.code, .0.message)]
    Refused(Box<Status>),
    /// The call did not get through.
    #[error("{0}")]
    Call(#[source] Box<kube::Error>),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Connection(#[from] std::io::Error),
    /// What came is no list and no event. It is not quoted.
    #[error("the answer is not what the API server sends")]
    Unreadable,
    /// One object is larger than anything that etcd keeps.
    #[error("an object is larger than {LARGEST_EVENT} bytes")]
    TooLarge,
}

impl Broken {
    /// The code of the API server's answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            _ => None,
        }
    }
}

impl From<kube::Error> for Broken {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(mut status) => {
                // A proxy may answer with a page of its own.
                status.message = cut(&status.message, LONGEST_WORDS);
                Self::Refused(status)
            }
            other => Self::Call(Box::new(other)),
        }
    }
}

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct What {
    /// Path of the kind: `/api/v1/pods`.
    pub path: String,
    /// Label selector.
    pub labels: Option<&'static str>,
    /// Field selector.
    pub fields: Option<String>,
    /// The part of the cluster that path and selectors leave.
    pub scope: Scope,
}

/// Follows a kind for as long as it is polled. Whatever goes wrong is given to `report`, and tried again.
pub async fn follow<T>(client: Client, what: What, sink: &impl Sink<T>, report: impl Fn(&Broken)) {
    let mut waits = Growing::default();
    let mut follower = Follower { client, what, unreadable: BTreeSet::new(), mute: 0 };
    let most = if follower.what.path.ends_with("/events") { MUTE_WITHOUT_BOOKMARKS } else { MUTE };
    let mut version: Option<String> = None;
    loop {
        let outcome = match version.take() {
            None => {
                follower.mute = 0;
                follower.list(sink).await.map_err(|broken| (broken, None))
            }
            Some(from) => follower.watch(sink, from).await,
        };
        if follower.mute >= most && outcome.is_ok() {
            debug!(path = %follower.what.path, "a watch brought nothing at all; the kind is listed again");
            continue;
        }
        match outcome {
            Ok(next) => version = Some(next),
            Err((error, next)) => {
                // What is known is too old to go on from, or the kind was gone and what is there may be other objects, and nobody says that it
                // is back: only a list helps.
                version = next.filter(|_| !matches!(error.code(), Some(404 | 410)));
                report(&error);
                tokio::time::sleep(waits.wait()).await;
            }
        }
    }
}

/// A list or a watch that has ended: the version to go on from, or why it broke, with that version if there is one.
type Ended = Result<String, (Broken, Option<String>)>;

struct Follower {
    client: Client,
    what: What,
    /// Objects that were named in the log.
    unreadable: BTreeSet<Key>,
    /// Watches in a row that were silent from their beginning.
    mute: u32,
}

impl Follower {
    /// Sends a request; gives the answer once it has started.
    async fn ask(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<impl AsyncBufRead + Unpin + use<>, Broken> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // A watch that is packed would have to be unpacked event by event.
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = tokio::time::timeout(ANSWER, self.client.request_stream(request)).await;
        Ok(Box::pin(answer.map_err(|_| Broken::Unanswered)??))
    }

    /// Delivers all pages of a list, each object as it comes; gives the version that it is of.
    async fn list<T>(&mut self, sink: &impl Sink<T>) -> Result<String, Broken> {
        sink.listing(&self.what.scope);
        let (mut listed, mut limit, mut token) = (BTreeSet::new(), PAGE, None);
        loop {
            let parameters = ListParams {
                label_selector: self.what.labels.map(str::to_owned),
                field_selector: self.what.fields.clone(),
                limit: Some(limit),
                continue_token: token.clone(),
                ..ListParams::default()
            };
            let answer = self.ask(Builder::new(&self.what.path).list(&parameters)).await?;
            let text = tokio::time::timeout(ANSWER, whole(answer.take(LARGEST_PAGE + 1)))
                .await
                .map_err(|_| Broken::Unanswered)??;
            if u64::try_from(text.len()).unwrap_or(u64::MAX) > LARGEST_PAGE {
                if limit == 1 {
                    return Err(Broken::TooLarge);
                }
                limit = limit.div_ceil(2);
                continue;
            }
            let text = std::str::from_utf8(&text).map_err(|_| Broken::Unreadable)?;
            let page = Page::of(text).ok_or(Broken::Unreadable)?;
            let mut objects = Vec::with_capacity(page.items.len());
            for item in page.items {
                match self.read(sink, item) {
                    Read::Kept(object) => {
                        listed.insert(sink.key(&object));
                        objects.push(object);
                    }
                    // What was known of it before stays.
                    Read::Unreadable(stub) => listed.extend(stub.map(|stub| stub.key())),
                    Read::Foreign => {}
                }
            }
            sink.list(objects);
            token = page.metadata.token.filter(|token| !token.is_empty());
            if token.is_none() {
                let version = page.metadata.version.filter(|version| !version.is_empty());
                let version = version.ok_or(Broken::Unreadable)?;
                sink.listed(&self.what.scope, &listed);
                return Ok(version);
            }
        }
    }

    /// Takes the changes after a version, until the watch ends.
    async fn watch<T>(&mut self, sink: &impl Sink<T>, mut version: String) -> Ended {
        let parameters = WatchParams {
            label_selector: self.what.labels.map(str::to_owned),
            field_selector: self.what.fields.clone(),
            timeout: Some(WATCH),
            bookmarks: true,
            send_initial_events: false,
        };
        let mut events = match self.ask(Builder::new(&self.what.path).watch(&parameters, &version)).await {
            Ok(events) => events,
            Err(broken) => return Err((broken, Some(version))),
        };
        let mut line = Vec::new();
        let mute = std::mem::take(&mut self.mute);
        let mut is_first = true;
        loop {
            line.clear();
            let mut next = (&mut events).take(LARGEST_EVENT);
            match tokio::time::timeout(SILENCE, next.read_until(b'\n', &mut line)).await {
                Ok(Ok(0)) => break,
                Err(_) => {
                    self.mute = if is_first { mute + 1 } else { 0 };
                    break;
                }
                Ok(Ok(_)) => is_first = false,
                Ok(Err(error)) if is_end(&error) => break,
                Ok(Err(error)) => return Err((error.into(), Some(version))),
            }
            if line.last() != Some(&b'\n') {
                if u64::try_from(line.len()).unwrap_or(u64::MAX) >= LARGEST_EVENT {
                    return Err((Broken::TooLarge, None));
                }
                // The end of the connection within an event.
                break;
            }
            match std::str::from_utf8(&line)
                .map_err(|_| Broken::Unreadable)
                .and_then(|text| self.take(sink, text))
            {
                Ok(next) => version = next.unwrap_or(version),
                Err(broken) => return Err((broken, Some(version))),
            }
        }
        debug!(path = %self.what.path, "a watch has ended; it is asked for again");
        tokio::time::sleep(AGAIN).await;
        Ok(version)
    }

    /// Takes one event; gives the version that it is of.
    fn take<T>(&mut self, sink: &impl Sink<T>, text: &str) -> Result<Option<String>, Broken> {
        let event = fields(text).ok_or(Broken::Unreadable)?;
        let part = |name: &str| event.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let (kind, object) = part("\"type\"").zip(part("\"object\"")).ok_or(Broken::Unreadable)?;
        if kind == "\"ERROR\"" {
            let status: Status = serde_json::from_str(object).map_err(|_| Broken::Unreadable)?;
            return Err(Broken::Refused(Box::new(status)));
        }
        if kind == "\"BOOKMARK\"" {
            let mark: Mark = serde_json::from_str(object).map_err(|_| Broken::Unreadable)?;
            return Ok(mark.metadata.version);
        }
        let stub = Stub::read(object);
        let version = |stub: Stub| Some(stub.version).filter(|version| !version.is_empty());
        // Own writes come back this way; what was written was read then.
        if let Some(own) =
            stub.as_ref().filter(|stub| kind != "\"DELETED\"" && sink.knows(&stub.key(), &stub.version))
        {
            return Ok(version(own.clone()));
        }
        match self.read(sink, object) {
            Read::Kept(object) if kind == "\"DELETED\"" => sink.gone(&sink.key(&object)),
            Read::Kept(object) => sink.apply(object),
            Read::Unreadable(Some(stub)) if kind == "\"DELETED\"" => sink.gone(&stub.key()),
            Read::Unreadable(_) => {}
            // It may have been one that is kept.
            Read::Foreign => {
                if let Some(stub) = &stub {
                    sink.gone_if_known(&stub.key());
                }
            }
        }
        Ok(stub.and_then(version))
    }

    /// Reads one object.
    fn read<T>(&mut self, sink: &impl Sink<T>, text: &str) -> Read<T> {
        match sink.read(text) {
            Ok(Some(object)) => Read::Kept(object),
            Ok(None) => Read::Foreign,
            Err(error) => {
                let stub = Stub::read(text);
                if let Some(key) = stub.as_ref().map(Stub::key)
                    && self.unreadable.len() < NAMED
                    && self.unreadable.insert(key.clone())
                {
                    // The error itself may quote the object.
                    let (path, at) = (&self.what.path, error.column());
                    warn!(%path, object = %key, at, "an object cannot be read and is left as it was known");
                }
                Read::Unreadable(stub)
            }
        }
    }
}

/// What became of the text of an object.
enum Read<T> {
    Kept(T),
    /// None that is kept.
    Foreign,
    Unreadable(Option<Stub>),
}

/// How far a watch is.
#[derive(Deserialize)]
struct Mark {
    metadata: ListMeta,
}

/// All of a page. `read_to_end` clears the room that it has left over again for each piece that the network brings.
async fn whole(mut page: impl AsyncBufRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let piece = page.fill_buf().await?;
        let length = piece.len();
        if length == 0 {
            return Ok(text);
        }
        text.extend_from_slice(piece);
        page.consume_unpin(length);
    }
}

/// Whether an error only says that the other side has ended the connection.
fn is_end(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::UnexpectedEof || error.to_string().contains("unexpected EOF")
}

#[cfg(test)]
mod tests;
