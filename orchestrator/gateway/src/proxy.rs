//! One request, from its head to the last byte of its answer: it is read whole, so that it can be sent again; the router ranks the heads
//! of its model; it goes to the first that takes it, and its answer comes back piece by piece as it is made. Which heads there are is not
//! known here.

mod answer;
mod relay;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use hyper::body::Incoming;
use rayfleet_routing::Failure;

use self::answer::Answer;
use self::relay::{Relay, Sent, Tried};
use self::upload::Uploads;
use crate::held::Held;
use crate::metrics::Metrics;
use crate::ranking::{Ranked, Ranking, Refused, Wants};
use crate::refusal::Refusal;
use crate::room::Room;

/// The body of any answer.
pub(crate) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

/// Heads that one request is tried at, one after the other.
const TRIES: usize = 3;
/// Of these, heads that may get it and give no answer: a request that ends one engine may end the next.
const SENDS: usize = 2;
/// The path of requests that go on without their client, in the background or stored: they are not sent again once they may have arrived.
const KEPT_GOING: &str = "/v1/responses";
/// Header of an answer: the pod that gave it, by its UID.
pub(crate) const SERVED_BY: &str = "x-rayfleet-served-by";

/// The proxy. Clones share everything.
#[derive(Clone)]
pub(crate) struct Proxy {
    ranking: Ranking,
    relay: Relay,
    uploads: Uploads,
    metrics: Arc<Metrics>,
    /// Set once this gateway is to end: clients are asked to reconnect, to another one.
    ending: Arc<AtomicBool>,
}

impl Proxy {
    /// `upload` is the longest time for a body to arrive, `answer` that until an answer begins.
    pub(crate) fn new(
        ranking: Ranking,
        room: Room,
        upload: Duration,
        answer: Duration,
        metrics: Arc<Metrics>,
        ending: Arc<AtomicBool>,
    ) -> Self {
        Self { ranking, relay: Relay::new(answer), uploads: Uploads::new(room, upload), metrics, ending }
    }

    /// Answers a request. Never fails: a refusal is an answer.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut response = match self.try_answer(request).await {
            Ok(response) => response,
            Err((model, refusal)) => {
                self.metrics.refused(model.as_deref(), refusal.status());
                refused(&refusal)
            }
        };
        if self.ending.load(Ordering::Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn try_answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Refused> {
        let (head, body) = request.into_parts();
        let nameless = |refusal: Refusal| (None, refusal);
        let strategy = match self.ranking.wants(&head.method, head.uri.path(), &head.headers) {
            Ok(Wants::Models(answer)) => return Ok(json(answer.to_string())),
            Ok(Wants::Engine(strategy)) => strategy,
            Err(refusal) => return Err(nameless(refusal)),
        };
        let body = self.uploads.read(body).await.map_err(nameless)?;
        let ranked = self.ranking.rank(&body, &head.headers, &strategy).await?;
        let name = ranked.model.name.clone();
        self.send(ranked, &head, &body).await.map_err(|refusal| (Some(name), refusal))
    }

    /// Sends a request to the heads in their order until one takes it.
    async fn send(
        &self,
        Ranked { model, question, choices }: Ranked,
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
            let mut held = Held::at(&model, &choice, &question.request.prompt, &self.metrics);
            match self.relay.send(onward(asked, &choice.address, body)?).await {
                Sent::Answered(response, first) => {
                    let status = response.status();
                    held.says(status);
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
}

fn json(text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A refusal as its client gets it.
fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = Response::new(full(refusal.body()));
    *response.status_mut() = refusal.status();
    response.headers_mut().extend(refusal.headers());
    if refusal.leaves_body() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
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

/// Whether an answer says that this head cannot, where another may: it is going, it is overloaded behind a proxy of its own, or its engine
/// has died. A 500 may be of the request, and one group's 500 should not become three. What goes on by itself may have begun behind a
/// proxy that says 502 or 504.
fn may_go_elsewhere(status: StatusCode, path: &str) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE
        || path != KEPT_GOING && matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}
