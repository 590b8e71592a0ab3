//! One request, from its head to the last byte of its answer: it is read whole, so that it can be sent again; the router ranks the heads
//! of its model; it goes to the first that takes it, and its answer comes back piece by piece as it is made. Which heads there are is not
//! known here.

mod answer;
mod question;
mod refusal;
mod relay;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use rayfleet_routing::{Choice, Failure, Strategy};
use tokio::sync::Semaphore;

use self::answer::{Answer, Held};
use self::question::Question;
pub(crate) use self::refusal::Refusal;
use self::relay::{Relay, Sent, Tried};
use self::upload::Uploads;
use crate::metrics::Metrics;
use crate::models::{Model, Models};

/// The body of any answer.
pub(crate) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

/// Heads that one request is tried at, one after the other.
const TRIES: usize = 3;
/// Of these, heads that may get it and give no answer: a request that ends one engine may end the next.
const SENDS: usize = 2;
/// The path of requests that go on without their client, in the background or stored: they are not sent again once they may have arrived.
const KEPT_GOING: &str = "/v1/responses";
/// Bodies that are read at once, in bytes.
const SMALL: usize = 64 << 10;
/// Larger ones that are read at the same time.
const READERS: usize = 2;
/// Header by which a client chooses a strategy, as AIBrix has it.
const STRATEGY: &str = "routing-strategy";
/// Header of an answer: the pod that gave it, by its UID.
const SERVED_BY: &str = "x-rayfleet-served-by";

/// How the proxy is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Largest body of a request, in bytes.
    pub(crate) largest_body: usize,
    /// Bytes of all bodies that are held at a time.
    pub(crate) all_bodies: usize,
    /// Longest time for a body to arrive.
    pub(crate) upload: Duration,
    /// Longest time until an answer begins.
    pub(crate) answer: Duration,
    /// Strategy of requests that name none.
    pub(crate) strategy: Strategy,
}

/// The proxy. Clones share everything.
#[derive(Clone)]
pub(crate) struct Proxy {
    models: Models,
    relay: Relay,
    uploads: Uploads,
    strategy: Strategy,
    readers: Arc<Semaphore>,
    /// Kept from whoever writes prompts.
    seed: u64,
    metrics: Arc<Metrics>,
    /// Set once this gateway is to end: clients are asked to reconnect, to another one.
    ending: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn new(
        models: Models,
        settings: &Settings,
        metrics: Arc<Metrics>,
        ending: Arc<AtomicBool>,
    ) -> Self {
        Self {
            models,
            relay: Relay::new(settings.answer),
            uploads: Uploads::new(settings.largest_body, settings.all_bodies, settings.upload),
            strategy: settings.strategy.clone(),
            readers: Arc::new(Semaphore::new(READERS)),
            seed: rand::random(),
            metrics,
            ending,
        }
    }

    /// Bytes of bodies that there is room for now.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.uploads.room()
    }

    /// Answers a request. Never fails: a refusal is an answer.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut response = match self.try_answer(request).await {
            Ok(response) => response,
            Err((model, refusal)) => {
                self.metrics.refused(model.as_deref(), refusal.status());
                refusal.into_response()
            }
        };
        if self.ending.load(Ordering::Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn try_answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, (Option<Arc<str>>, Refusal)> {
        let (head, body) = request.into_parts();
        let nameless = |refusal: Refusal| (None, refusal);
        if head.method == Method::GET
            && let Some(answer) = self.list(head.uri.path()).map_err(nameless)?
        {
            return Ok(answer);
        }
        if !question::PATHS.contains(&head.uri.path()) {
            return Err(nameless(Refusal::Path));
        }
        if head.method != Method::POST {
            return Err(nameless(Refusal::Method));
        }
        let strategy = match head.headers.get(STRATEGY) {
            None => self.strategy.clone(),
            Some(text) => text
                .to_str()
                .unwrap_or_default()
                .parse()
                .map_err(|unknown| nameless(Refusal::Strategy(unknown)))?,
        };
        let body = self.uploads.read(body).await.map_err(nameless)?;
        let question = self.question(&body, &head.headers).await.map_err(nameless)?;
        let Some(model) = self.models.get(&question.model) else {
            return Err(nameless(self.unknown(question.model)));
        };
        let named = |refusal: Refusal| (Some(model.name.clone()), refusal);
        let random = rand::random();
        let choices = model
            .route(|router, now| router.pick(&question.request, &strategy, now, random))
            .map_err(|_| named(Refusal::NoGroup(question.model.clone())))?;
        self.send(&model, &question, choices, &head, &body).await.map_err(named)
    }

    /// What a body asks. A large one is read on another thread: it takes a while, and many of them at a time would hold up everybody.
    async fn question(&self, body: &Bytes, headers: &HeaderMap) -> Result<Question, Refusal> {
        let seed = self.seed;
        if body.len() <= SMALL {
            return Question::read(body, headers, seed);
        }
        let _turn = self.readers.acquire().await.map_err(|_| Refusal::Full)?;
        let (body, headers) = (body.clone(), headers.clone());
        let read = tokio::task::spawn_blocking(move || Question::read(&body, &headers, seed)).await;
        read.map_err(|_| Refusal::Full)?
    }

    /// Sends a request to the heads in their order until one takes it.
    async fn send(
        &self,
        model: &Arc<Model>,
        question: &Question,
        choices: Vec<Choice>,
        asked: &http::request::Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, Refusal> {
        let path = asked.uri.path();
        let mut last = Refusal::NoGroup(model.name.to_string());
        let (mut left, mut sends) = (choices.len().min(TRIES), if path == KEPT_GOING { 1 } else { SENDS });
        for choice in choices {
            if left == 0 {
                break;
            }
            left -= 1;
            let ticket = model.route(|router, _| router.begin(&choice.id, &question.request.prompt));
            let mut held = Held::new(model.clone(), ticket, self.metrics.clone());
            match self.relay.send(onward(asked, &choice.address, body)?).await {
                Sent::Answered(response, first) => {
                    let status = response.status();
                    if counts_as_failure(status) {
                        held.fails(Failure::Answered);
                    }
                    if left > 0 && may_go_elsewhere(status, path) {
                        self.metrics.failed("status");
                        continue;
                    }
                    self.metrics.answered(&model.name, status);
                    self.metrics.expected(question.request.prompt.tokens(), choice.cached);
                    return Ok(passed_on(*response, first, &choice.id, held));
                }
                Sent::Failed(tried, why) => {
                    tracing::debug!(model = %model.name, head = %choice.address, error = %why, ?tried, "a head did not answer");
                    match tried {
                        Tried::Nowhere => return Err(Refusal::Exhausted),
                        Tried::Refused => {
                            held.fails(Failure::Unreachable);
                            self.metrics.failed("connection");
                            last = Refusal::Unreachable;
                        }
                        Tried::Sent => {
                            held.fails(Failure::Unreachable);
                            self.metrics.failed("no_answer");
                            last = Refusal::Lost;
                            sends -= 1;
                            if sends == 0 {
                                break;
                            }
                        }
                    }
                }
                Sent::Late => {
                    self.metrics.failed("late");
                    return Err(Refusal::Late);
                }
            }
        }
        Err(last)
    }

    /// What is asked about the models themselves.
    fn list(&self, path: &str) -> Result<Option<Response<Body>>, Refusal> {
        if path == "/v1/models" {
            let models: Vec<_> = self.models.all().iter().map(|model| described(&model.name)).collect();
            return Ok(Some(json(&serde_json::json!({"object": "list", "data": models}))));
        }
        let Some(name) = path.strip_prefix("/v1/models/") else { return Ok(None) };
        // Clients write the slash of a name as %2F, or as it is.
        let name = percent_decode_str(name).decode_utf8_lossy();
        match self.models.get(&name) {
            Some(model) => Ok(Some(json(&described(&model.name)))),
            None => Err(self.unknown(name.into_owned())),
        }
    }

    /// Before all was listed once a model that is missing may be there.
    fn unknown(&self, model: String) -> Refusal {
        if !self.models.is_settled() {
            return Refusal::NotYet;
        }
        let served = self.models.all().iter().map(|model| model.name.to_string()).collect();
        Refusal::Model { model, served }
    }
}

/// One model in a list, as `OpenAI`'s API has it.
fn described(name: &str) -> serde_json::Value {
    serde_json::json!({"id": name, "object": "model", "created": 0, "owned_by": "rayfleet"})
}

fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// The request as a head gets it.
fn onward(head: &http::request::Parts, address: &str, body: &Bytes) -> Result<Request<Full<Bytes>>, Refusal> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://{address}{path}").parse().map_err(|_| Refusal::Path)?;
    let mut headers: HeaderMap = head.headers.clone();
    relay::end_to_end(&mut headers);
    // The length is of the body that was read, and the host is the head.
    for name in [header::CONTENT_LENGTH, header::HOST, header::EXPECT] {
        headers.remove(name);
    }
    let mut onward = Request::new(Full::new(body.clone()));
    *onward.method_mut() = head.method.clone();
    *onward.uri_mut() = uri;
    *onward.headers_mut() = headers;
    Ok(onward)
}

/// An answer as its client gets it.
fn passed_on(
    response: Response<Incoming>,
    first: Option<Frame<Bytes>>,
    by: &str,
    held: Held,
) -> Response<Body> {
    let (mut parts, incoming) = response.into_parts();
    relay::end_to_end(&mut parts.headers);
    parts.version = http::Version::HTTP_11;
    if parts.status.is_informational() {
        // Nobody has asked for another protocol.
        parts.status = StatusCode::BAD_GATEWAY;
    }
    if let Ok(name) = by.parse() {
        parts.headers.insert(SERVED_BY, name);
    }
    Response::from_parts(parts, Answer::new(first, incoming, held).boxed_unsync())
}

/// Whether an answer says that the head is not able to answer.
fn counts_as_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

/// Whether an answer says that this head cannot, where another may: it is going, it is overloaded behind a proxy of its own, or its engine
/// has died. A 500 may be of the request, and one group's 500 should not become three. What goes on by itself may have begun behind a
/// proxy that says 502 or 504.
fn may_go_elsewhere(status: StatusCode, path: &str) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE
        || path != KEPT_GOING && matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}
