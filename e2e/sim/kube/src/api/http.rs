//! In-process HTTP for `kube`: turns a request into a [`Call`] and its outcome into a response.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};

use super::delete::{DeleteOptions, Deleted};
use super::error::FieldError;
use super::intercept::{Call, Interceptor, ListVerdict, Verb, Verdict};
use super::list::{ListOptions, parse_version};
use super::patch::{Patch, PatchType};
use super::route::Route;
use super::selector::Selector;
use super::server::ApiServer;
use super::watch::{LONGEST, Watch, WatchOptions};
use super::write::Target;
use super::{Kind, Refusal, convert, fields, meta, retry, scale};

/// Body of a response.
type Content = UnsyncBoxBody<Bytes, Infallible>;

impl ApiServer {
    /// An in-process client of this server, as the product uses it. `who` identifies it to `interceptor` and in
    /// the record of calls.
    pub fn client(&self, who: &str, namespace: &str, interceptor: Arc<dyn Interceptor>) -> kube::Client {
        let (server, who) = (self.clone(), who.to_owned());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, who, interceptor) = (server.clone(), who.clone(), interceptor.clone());
            async move { patiently(&server, &who, &interceptor, request).await }
        });
        kube::Client::new(service, namespace)
    }
}

/// Retries a request as long as kube's client would.
async fn patiently(
    server: &ApiServer,
    who: &str,
    interceptor: &Arc<dyn Interceptor>,
    request: Request<Body>,
) -> Result<Response<Content>, kube::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut retries = 0;
    loop {
        let response = serve(server, who, interceptor, &parts, &body).await;
        let Some(wait) = retry::wait(response.status(), response.headers(), retries) else {
            return Ok(response);
        };
        retries += 1;
        tokio::time::sleep(wait).await;
    }
}

/// What a request asks for besides its path.
struct Asked {
    query: Query,
    content_type: String,
    partial: bool,
}

struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn is_set(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }
}

type Outcome = Result<(u16, Arc<Value>), Refusal>;

async fn serve(
    server: &ApiServer,
    who: &str,
    interceptor: &Arc<dyn Interceptor>,
    parts: &http::request::Parts,
    body: &Bytes,
) -> Response<Content> {
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let asked = Asked {
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        content_type: header(http::header::CONTENT_TYPE).to_owned(),
        partial: header(http::header::ACCEPT).contains("as=PartialObjectMetadata"),
    };
    if parts.uri.path() == "/version" {
        return answer(200, &json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0"}));
    }
    let known = |route: &Route| server.with(|store| store.installed(&route.kind));
    let Some(route) = Route::parse(parts.uri.path()).filter(known) else {
        let has_group = server.with(|store| Route::group(parts.uri.path(), |kind| store.installed(kind)));
        let refusal = Refusal::no_such_resource();
        return if has_group { answer(refusal.code, &refusal.status()) } else { unknown_path() };
    };
    let Some(verb) = route.verb(&parts.method, asked.query.is_set("watch")) else {
        let refusal = Refusal::no_such_method();
        return answer(refusal.code, &refusal.status());
    };
    let sent = match read(body) {
        Ok(sent) => sent,
        Err(refusal) => return answer(refusal.code, &refusal.status()),
    };
    let call = call(server, who, verb, &route, sent, &asked);
    let verdict = interceptor.judge(&call);
    match verdict {
        Verdict::Pass | Verdict::LoseAfter => {}
        Verdict::Refuse { code, reason } => {
            let refusal = Refusal::intercepted(&call.kind, &call.name, code, reason);
            return answer(code, &refusal.status());
        }
        Verdict::Deny { code, reason, words } => {
            return answer(code, &Refusal::denied(&call.kind, &call.name, code, reason, words).status());
        }
        Verdict::Unknown => return unknown_path(),
        Verdict::LoseBefore => std::future::pending().await,
    }
    let response = respond(server, interceptor, &call, &asked);
    let code = response.status().as_u16();
    server.done(&call, code);
    interceptor.applied(&call, code);
    if verdict == Verdict::LoseAfter {
        std::future::pending::<()>().await;
    }
    response
}

fn call(server: &ApiServer, who: &str, verb: Verb, route: &Route, body: Value, asked: &Asked) -> Call {
    let named = if verb == Verb::Create { fields::name(&body).to_owned() } else { route.name.clone() };
    let in_body = verb == Verb::Delete && fields::list(&body, "/dryRun").iter().any(|word| word == "All");
    Call {
        number: server.number(who, verb, route.kind),
        who: who.to_owned(),
        verb,
        kind: route.kind,
        namespace: route.namespace.clone(),
        name: named,
        subresource: route.subresource.clone(),
        dry_run: in_body || asked.query.text("dryRun") == "All",
        body,
    }
}

fn read(body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn respond(
    server: &ApiServer,
    interceptor: &Arc<dyn Interceptor>,
    call: &Call,
    asked: &Asked,
) -> Response<Content> {
    let outcome = match call.verb {
        Verb::Watch => match watch(server, interceptor, call, asked) {
            Ok(watch) => {
                let body = StreamBody::new(watch.stream()).boxed_unsync();
                return response(200, "application/json", body);
            }
            Err(refusal) => Err(refusal),
        },
        _ => perform(server, interceptor, call, asked),
    };
    match outcome {
        Ok((code, object)) => answer(code, &object),
        Err(refusal) => answer(refusal.code, &refusal.status()),
    }
}

fn perform(server: &ApiServer, interceptor: &Arc<dyn Interceptor>, call: &Call, asked: &Asked) -> Outcome {
    let kind = &call.kind;
    let target = Target {
        kind,
        namespace: &call.namespace,
        name: &call.name,
        status: call.subresource.as_deref() == Some("status"),
        dry_run: call.dry_run,
        client: true,
    };
    let shown = |object: &Arc<Value>| {
        if asked.partial { Arc::new(meta::partial(object)) } else { convert::shown(kind, object) }
    };
    let scaled = call.subresource.as_deref() == Some("scale");
    match call.verb {
        Verb::Get => {
            let found = server.with(|store| store.current(&target))?;
            Ok((200, if scaled { Arc::new(scale::of(&found)) } else { shown(&found) }))
        }
        Verb::List | Verb::Watch => {
            let mut options = list_options(kind, asked)?;
            if let ListVerdict::Stale { behind } = interceptor.list(call) {
                options.behind = behind;
            }
            server.with(|store| store.list(kind, &call.namespace, &options)).map(|list| (200, Arc::new(list)))
        }
        Verb::Create => {
            let made = server.with(|store| store.create(&target, call.body.clone()))?;
            Ok((201, shown(&made)))
        }
        Verb::Update if scaled => {
            let kept = server.with(|store| store.replace_scale(&target, &call.body))?;
            Ok((200, Arc::new(scale::of(&kept))))
        }
        Verb::Update => {
            let (kept, created) = server.with(|store| store.replace(&target, call.body.clone()))?;
            Ok((if created { 201 } else { 200 }, shown(&kept)))
        }
        Verb::Patch => {
            let form = PatchType::parse(kind, &asked.content_type)?;
            let patch = Patch { form, body: &call.body, manager: asked.query.text("fieldManager") };
            if scaled {
                let kept = server.with(|store| store.patch_scale(&target, &patch))?;
                return Ok((200, Arc::new(scale::of(&kept))));
            }
            let (kept, created) = server.with(|store| store.patch(&target, &patch))?;
            Ok((if created { 201 } else { 200 }, shown(&kept)))
        }
        Verb::Delete => {
            let options = delete_options(call, asked)?;
            let deleted = server.with(|store| store.delete(&target, &options))?;
            Ok((200, Arc::new(end(kind, &deleted))))
        }
        Verb::DeleteCollection => delete_collection(server, call, asked),
    }
}

fn delete_options(call: &Call, asked: &Asked) -> Result<DeleteOptions, Refusal> {
    let mut options = DeleteOptions::parse(&call.body)?;
    options.dry_run |= call.dry_run;
    options.grace = options.grace.or_else(|| asked.query.number("gracePeriodSeconds"));
    Ok(options)
}

fn delete_collection(server: &ApiServer, call: &Call, asked: &Asked) -> Outcome {
    let kind = &call.kind;
    let options = delete_options(call, asked)?;
    let chosen = list_options(kind, asked)?;
    server.with(|store| {
        let list = store.list(kind, &call.namespace, &chosen)?;
        for object in fields::list(&list, "/items") {
            let target = Target {
                client: true,
                ..Target::direct(kind, fields::namespace(object), fields::name(object))
            };
            store.delete(&target, &options)?;
        }
        Ok((200, Arc::new(list)))
    })
}

/// The answer to a delete.
fn end(kind: &Kind, deleted: &Deleted) -> Value {
    let gone = match deleted {
        Deleted::Ending(object) => return convert::outward(kind, object).into_owned(),
        Deleted::Gone(object) if kind.deleted_object_answered() => return Value::clone(object),
        Deleted::Gone(object) => object,
    };
    let mut details = json!({"name": fields::name(gone), "kind": kind.plural, "uid": fields::uid(gone)});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn selector(kind: &Kind, asked: &Asked) -> Result<Selector, Refusal> {
    Selector::parse(kind, asked.query.text("labelSelector"), asked.query.text("fieldSelector"))
}

fn list_options(kind: &Kind, asked: &Asked) -> Result<ListOptions, Refusal> {
    let limit = asked.query.number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or_default();
    Ok(ListOptions {
        selector: selector(kind, asked)?,
        limit,
        token: asked.query.text("continue").to_owned(),
        version: asked.query.text("resourceVersion").to_owned(),
        exact: asked.query.text("resourceVersionMatch") == "Exact",
        partial: asked.partial,
        behind: 0,
    })
}

fn watch(
    server: &ApiServer,
    interceptor: &Arc<dyn Interceptor>,
    call: &Call,
    asked: &Asked,
) -> Result<Watch, Refusal> {
    let query = &asked.query;
    let initial = query.is_set("sendInitialEvents");
    if initial && query.text("resourceVersionMatch") != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let fault = FieldError::forbidden("resourceVersionMatch", why);
        return Err(Refusal::invalid_options("ListOptions", &fault));
    }
    let options = WatchOptions {
        selector: selector(&call.kind, asked)?,
        version: parse_version(query.text("resourceVersion"))?,
        bookmarks: query.is_set("allowWatchBookmarks"),
        initial,
        timeout: query.number("timeoutSeconds").map_or(LONGEST, Duration::from_secs),
        partial: asked.partial,
    };
    Ok(Watch::new(server.clone(), call.clone(), interceptor.clone(), options))
}

fn whole(text: impl Into<Bytes>) -> Content {
    Full::new(text.into()).boxed_unsync()
}

fn answer(code: u16, object: &Value) -> Response<Content> {
    response(code, "application/json", whole(object.to_string()))
}

/// The server's answer to paths that it does not know. It is not JSON.
fn unknown_path() -> Response<Content> {
    response(404, "text/plain; charset=utf-8", whole("404 page not found\n"))
}

fn response(code: u16, content_type: &'static str, body: Content) -> Response<Content> {
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    if code == 429 {
        response.headers_mut().insert(http::header::RETRY_AFTER, 1.into());
    }
    response
}
