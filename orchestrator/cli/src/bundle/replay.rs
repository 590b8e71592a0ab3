//! A bundle in place of an API server: a client whose calls are answered from it. It answers GET alone, selectors included; a list
//! with what was read for it, a container's log and what a pod said through the proxy by the same path. What was refused when the
//! bundle was made is refused again, in the same words.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;
use rayfleet_text::pieces::Page;
use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::{Entry, Fault, What};
use super::open::Bundle;
use super::select::{Query, Route, SELECTORS, Selection};

/// Header with the time at which an answer was given.
pub(crate) const ANSWERED: &str = "rayfleet-answered";
/// What of a query only bounds an answer of Ray.
pub(super) const BOUNDS: [&str; 2] = ["lines", "timeout"];
/// Longest words of a refusal, in bytes: a stranger may have written them.
const WORDS: usize = 1_000;
/// Longest list that is put together, in bytes.
const LONGEST: usize = 128 << 20;

/// Objects by namespace and name, each as its text.
type Objects = BTreeMap<(String, String), String>;

/// The bundle, and what has been asked of it.
pub(super) struct Replay {
    bundle: Arc<Bundle>,
    /// The lists of each kind: their entries' numbers and namespaces.
    kinds: BTreeMap<String, Vec<(usize, Option<String>)>>,
    /// Lists that have been read, as long as they are not too much.
    held: Mutex<BTreeMap<usize, Arc<Objects>>>,
    /// How often an entry was asked for: of several answers to one call each is given in turn, the last one again.
    asked: Mutex<BTreeMap<usize, usize>>,
}

/// A client that reads the bundle.
pub(super) fn client(bundle: &Arc<Bundle>, namespace: &str) -> Client {
    let replay = Arc::new(Replay::of(bundle.clone()));
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        std::future::ready(Ok::<_, Infallible>(replay.answer(request.method(), path, &query)))
    });
    Client::new(service, namespace)
}

/// An answer: the text, its kind, and when it was given.
struct Said {
    bytes: Vec<u8>,
    json: bool,
    at: Option<Timestamp>,
}

impl Said {
    fn json(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), json: true, at: None }
    }
}

impl Replay {
    fn of(bundle: Arc<Bundle>) -> Self {
        let mut kinds: BTreeMap<String, Vec<(usize, Option<String>)>> = BTreeMap::new();
        for (at, entry) in bundle.manifest.entries.iter().enumerate() {
            if let (What::List | What::Room, Some(route)) = (entry.what, Route::parse(&entry.path))
                && route.name.is_none()
            {
                kinds.entry(route.collection).or_default().push((at, route.namespace.map(str::to_owned)));
            }
        }
        Self { bundle, kinds, held: Mutex::default(), asked: Mutex::default() }
    }

    fn answer(&self, method: &Method, path: &str, query: &Query) -> Response<Body> {
        let at = self.bundle.manifest.at;
        let said = if *method != Method::GET {
            Err(refused(
                405,
                "MethodNotAllowed",
                format!("this is a bundle of {at:.0}: it cannot be changed"),
            ))
        } else if query.is_set("watch") || query.is_set("follow") {
            Err(refused(
                405,
                "MethodNotAllowed",
                format!("this is a bundle of {at:.0}: nothing in it changes"),
            ))
        } else if path == "/version" {
            Ok(Said::json(self.bundle.manifest.server.to_string()))
        } else {
            self.find(path, query)
        };
        let (code, said) = match said {
            Ok(said) => (200, said),
            Err(fault) => {
                (if fault.code < 300 { 504 } else { fault.code }, Said::json(status(&fault).to_string()))
            }
        };
        let mut response = Response::new(Body::from(said.bytes));
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = if said.json { "application/json" } else { "text/plain" };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        for (name, value) in [(DATE.as_str(), Some(date)), (ANSWERED, said.at.map(|at| at.to_string()))] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    fn find(&self, path: &str, query: &Query) -> Result<Said, Fault> {
        let route = Route::parse(path).ok_or_else(|| self.not_here(path))?;
        match (route.name, route.below) {
            (None, _) => self.list(&route, path, query),
            (Some(_), Some("log")) => self.log(path, query),
            (Some(_), Some(_)) => self.proxied(path, query),
            (Some(name), None) => self.get(&route, path, name),
        }
    }

    fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.bundle.manifest.entries.iter().enumerate()
    }

    fn text(&self, entry: &Entry) -> Result<String, Fault> {
        match (&entry.file, &entry.fault) {
            (_, Some(fault)) => Err(fault.clone()),
            (Some(file), None) => {
                let bytes = self
                    .bundle
                    .read(file)
                    .map_err(|why| refused(500, "InternalError", format!("the bundle: {why}")))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            (None, None) => Err(self.not_here(&entry.path)),
        }
    }

    /// The lists of a kind: entries, and their namespaces.
    fn lists(&self, collection: &str) -> impl Iterator<Item = (usize, &Entry, Option<&str>)> {
        self.kinds.get(collection).into_iter().flatten().filter_map(|(at, namespace)| {
            Some((*at, self.bundle.manifest.entries.get(*at)?, namespace.as_deref()))
        })
    }

    fn list(&self, route: &Route<'_>, path: &str, query: &Query) -> Result<Said, Fault> {
        let selection = Selection::of(query).map_err(|why| refused(400, "BadRequest", why))?;
        let asked = query.only(&SELECTORS);
        let exact =
            self.lists(&route.collection).find(|(_, entry, _)| entry.path == path && entry.query == asked);
        if let Some((at, entry, _)) = exact {
            return self.put_together(route, &selection, &[(at, entry)]);
        }
        // Then what was read of it, of whatever part.
        let overlaps = |of: Option<&str>| of.is_none() || route.namespace.is_none() || of == route.namespace;
        let parts: Vec<(usize, &Entry)> = self
            .lists(&route.collection)
            .filter(|(_, entry, of)| entry.what == What::List && overlaps(*of))
            .map(|(at, entry, _)| (at, entry))
            .collect();
        let read: Vec<(usize, &Entry)> =
            parts.iter().filter(|(_, entry)| entry.fault.is_none()).copied().collect();
        match (read.as_slice(), parts.first()) {
            ([], Some(refused)) => self.put_together(route, &selection, &[*refused]),
            ([], None) => Err(self.not_here(path)),
            (read, _) => self.put_together(route, &selection, read),
        }
    }

    /// The objects of these lists that are taken, each once.
    fn put_together(
        &self,
        route: &Route<'_>,
        selection: &Selection,
        lists: &[(usize, &Entry)],
    ) -> Result<Said, Fault> {
        let lists =
            lists.iter().map(|(at, entry)| self.objects(*at, entry)).collect::<Result<Vec<_>, _>>()?;
        let mut taken: BTreeMap<&(String, String), &str> = BTreeMap::new();
        let mut length = 0_usize;
        for (key, text) in lists.iter().flat_map(|objects| objects.iter()) {
            let here = route.namespace.is_none_or(|namespace| namespace == key.0);
            let is_selected =
                || serde_json::from_str::<Value>(text).is_ok_and(|object| selection.takes(&object));
            if here && !taken.contains_key(key) && is_selected() {
                length = length.saturating_add(text.len());
                if length > LONGEST {
                    let why = format!("the bundle: the list of {} is too long", route.collection);
                    return Err(refused(500, "InternalError", why));
                }
                taken.insert(key, text);
            }
        }
        let items: Vec<&str> = taken.into_values().collect();
        Ok(Said::json(format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"1"}},"items":[{}]}}"#,
            items.join(",")
        )))
    }

    fn objects(&self, at: usize, entry: &Entry) -> Result<Arc<Objects>, Fault> {
        if let Some(held) = self.held.lock().get(&at) {
            return Ok(held.clone());
        }
        let text = self.text(entry)?;
        let page = Page::of(&text).ok_or_else(|| {
            refused(500, "InternalError", format!("the bundle: the list of {} cannot be read", entry.path))
        })?;
        let objects: Objects =
            page.items.into_iter().filter_map(|item| Some((key(item)?, item.to_owned()))).collect();
        let objects = Arc::new(objects);
        let mut held = self.held.lock();
        let length = |objects: &Objects| objects.values().map(String::len).sum::<usize>();
        if held.values().map(|objects| length(objects)).sum::<usize>().saturating_add(length(&objects))
            <= LONGEST
        {
            held.insert(at, objects.clone());
        }
        Ok(objects)
    }

    fn get(&self, route: &Route<'_>, path: &str, name: &str) -> Result<Said, Fault> {
        if route.collection == "/api/v1/secrets" || route.collection == "/api/v1/configmaps" {
            return Err(refused(400, "BadRequest", "a bundle holds no Secrets and no ConfigMaps".to_owned()));
        }
        if let Some(entry) = self.next(|entry| entry.what == What::Object && entry.path == path) {
            return self.text(entry).map(Said::json);
        }
        let key = (route.namespace.unwrap_or_default().to_owned(), name.to_owned());
        let (mut fault, mut read) = (None, false);
        let lists = self
            .lists(&route.collection)
            .filter(|(_, entry, of)| entry.what == What::List && (of.is_none() || *of == route.namespace));
        for (at, entry, _) in lists {
            match self.objects(at, entry) {
                Ok(objects) => match objects.get(&key) {
                    Some(found) => return Ok(Said::json(found.as_str())),
                    None => read = true,
                },
                Err(why) => fault = fault.or(Some(why)),
            }
        }
        let kind = route.collection.rsplit('/').next().unwrap_or_default();
        Err(match fault {
            _ if read => refused(404, "NotFound", format!("{kind} \"{name}\" not found")),
            Some(fault) => fault,
            None => self.not_here(path),
        })
    }

    fn log(&self, path: &str, query: &Query) -> Result<Said, Fault> {
        let key = query.only(&["container", "previous"]);
        let key = key.replace("&previous=false", "");
        let entry = self.next(|entry| entry.what == What::Log && entry.path == path && entry.query == key);
        let text = self.text(entry.ok_or_else(|| self.not_here(path))?)?;
        let from = query.number("sinceSeconds").and_then(|seconds| {
            let seconds = SignedDuration::from_secs(i64::try_from(seconds).ok()?);
            self.bundle.manifest.at.checked_sub(seconds).ok()
        });
        let stamp =
            |line: &str| line.split_once(' ').map_or(line, |(stamp, _)| stamp).parse::<Timestamp>().ok();
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        if let Some(from) = from {
            lines.retain(|line| stamp(line.trim_end()).is_none_or(|time| time >= from));
        }
        Ok(Said { bytes: tail(lines, query.number("tailLines")), json: false, at: None })
    }

    fn proxied(&self, path: &str, query: &Query) -> Result<Said, Fault> {
        let key = query.without(&BOUNDS);
        let entry = self.next(|entry| entry.what == What::Answer && entry.path == path && entry.query == key);
        let entry = entry.ok_or_else(|| self.not_here(path))?;
        let text = self.text(entry)?;
        let bytes = match query.number("lines") {
            Some(lines) => tail(text.split_inclusive('\n').collect(), Some(lines)),
            None => text.into_bytes(),
        };
        Ok(Said { bytes, json: false, at: entry.answered })
    }

    /// The entry of a call; of several the one whose turn it is.
    fn next(&self, wanted: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let all: Vec<(usize, &Entry)> = self.entries().filter(|(_, entry)| wanted(entry)).collect();
        let (first, _) = all.first()?;
        let mut asked = self.asked.lock();
        let turn = asked.entry(*first).or_default();
        let found = all.get((*turn).min(all.len().saturating_sub(1))).map(|(_, entry)| *entry);
        *turn = turn.saturating_add(1);
        found
    }

    fn not_here(&self, path: &str) -> Fault {
        let scope = self.bundle.manifest.scope.words();
        refused(400, "NotInBundle", format!("not in this bundle, which is of {scope}: {path}"))
    }
}

fn refused(code: u16, reason: &str, message: String) -> Fault {
    Fault { code, reason: reason.to_owned(), message }
}

/// As the API server says no. A 404 of an object names it, as [`crate::error`] asks.
fn status(fault: &Fault) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": one_line(&cut(&fault.message, WORDS)), "reason": one_line(&cut(&fault.reason, WORDS)), "code": fault.code
    });
    if fault.code == 404
        && let Some((_, rest)) = fault.message.split_once('"')
        && let Some((name, _)) = rest.split_once('"')
    {
        status["details"] = json!({"name": name});
    }
    status
}

/// Namespace and name of an object.
fn key(text: &str) -> Option<(String, String)> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        namespace: String,
        name: String,
    }
    let Named { metadata } = serde_json::from_str(text).ok()?;
    Some((metadata.namespace, metadata.name))
}

/// The last lines; all without a number.
fn tail(lines: Vec<&str>, most: Option<u64>) -> Vec<u8> {
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let skip = lines.len().saturating_sub(most);
    lines.into_iter().skip(skip).collect::<String>().into_bytes()
}
