//! One request as `ext_proc` tells it, message by message, and what is answered: the body is read whole, then the request gets its
//! endpoints and its body back in pieces, and its answer passes unchanged.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use futures::{Stream, StreamExt as _};
use http::{HeaderValue, StatusCode, header};
use rayfleet_routing::Strategy;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tonic::Status;

use super::Picker;
use super::going::{Begun, Going};
use super::message::{self, Head, Of};
use super::subset::Subset;
use crate::proxy::SERVED_BY;
use crate::ranking::{Refused, Wants};
use crate::refusal::Refusal;
use crate::room::Arriving;

/// Largest piece of a body that is given back: Envoy takes messages of less than 64 KiB.
const PIECE: usize = 62_000;

/// One request.
pub(super) struct Exchange<S> {
    picker: Picker,
    messages: S,
    phase: Phase,
    /// How Envoy sends bodies of requests and of answers.
    modes: (BodySendMode, BodySendMode),
    answers: VecDeque<Outgoing>,
    /// Until when the body has to be there.
    deadline: Option<Pin<Box<Sleep>>>,
    /// `None`: there are as many as may be.
    turn: Option<OwnedSemaphorePermit>,
}

enum Phase {
    /// Nothing has come yet.
    New,
    /// Its body is coming.
    Asking(Box<Asking>),
    /// It has its endpoints.
    Going(Box<Going>),
    /// It was answered here, or by Envoy before it had any.
    Over,
}

struct Asking {
    head: Head,
    strategy: Strategy,
    subset: Option<Subset>,
    body: Arriving,
}

enum Outgoing {
    Message(Box<ProcessingResponse>),
    /// A body, or what is left of it; whether it is the end of the stream.
    Body(Of, Bytes, bool),
}

/// Why a message is answered by none of its kind.
enum Wrong {
    /// An answer for the client.
    Refused(Refused),
    /// An error for Envoy, which fails open or closed as it is configured.
    Protocol(Status),
}

impl From<Refused> for Wrong {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Self {
        Self::Refused((None, refusal))
    }
}

impl<S: Stream<Item = Result<ProcessingRequest, Status>> + Unpin> Exchange<S> {
    pub(super) fn new(picker: Picker, turn: Option<OwnedSemaphorePermit>, messages: S) -> Self {
        let deadline = Some(Box::pin(tokio::time::sleep(picker.upload)));
        // Older data planes do not say; the protocol knows one mode.
        let modes = (BodySendMode::FullDuplexStreamed, BodySendMode::FullDuplexStreamed);
        Self { picker, messages, phase: Phase::New, modes, answers: VecDeque::new(), deadline, turn }
    }

    /// What is said next; `None` ends the stream.
    pub(super) async fn next(&mut self) -> Option<Result<ProcessingResponse, Status>> {
        loop {
            if let Some(answer) = self.outgoing() {
                return Some(Ok(answer));
            }
            if matches!(self.phase, Phase::Over) {
                return None;
            }
            match self.step().await {
                Ok(true) => {}
                Ok(false) => self.phase = Phase::Over,
                Err(Wrong::Refused((model, refusal))) => self.refuse(model.as_deref(), &refusal),
                Err(Wrong::Protocol(status)) => {
                    self.phase = Phase::Over;
                    return Some(Err(status));
                }
            }
        }
    }

    fn outgoing(&mut self) -> Option<ProcessingResponse> {
        match self.answers.pop_front()? {
            Outgoing::Message(message) => Some(*message),
            Outgoing::Body(of, mut body, end) => {
                let piece = body.split_to(body.len().min(PIECE));
                let is_last = body.is_empty();
                if !is_last {
                    self.answers.push_front(Outgoing::Body(of, body, end));
                }
                Some(message::piece(of, &piece, is_last && end))
            }
        }
    }

    /// Hears one message and answers it. `false`: there are no more.
    async fn step(&mut self) -> Result<bool, Wrong> {
        if self.turn.is_none() {
            return Err(Refusal::Full.into());
        }
        let heard = match &mut self.deadline {
            None => self.messages.next().await,
            Some(deadline) => tokio::select! {
                heard = self.messages.next() => heard,
                () = deadline => return Err(Refusal::Slow(self.picker.upload.as_secs()).into()),
            },
        };
        // A stream that breaks is a client that went, or an Envoy.
        let Some(Ok(message)) = heard else { return Ok(false) };
        self.take(message).await?;
        Ok(true)
    }

    async fn take(&mut self, message: ProcessingRequest) -> Result<(), Wrong> {
        if let Some(config) = message.protocol_config {
            let known = |mode| BodySendMode::try_from(mode).unwrap_or_default();
            self.modes = (known(config.request_body_mode), known(config.response_body_mode));
        }
        let metadata = message.metadata_context;
        match message.request {
            // Of flow control alone, which Envoy does not have yet.
            None => {}
            Some(Request::RequestHeaders(headers)) => self.begin(headers, metadata.as_ref())?,
            Some(Request::RequestBody(piece)) => self.body(&piece).await?,
            Some(Request::RequestTrailers(_)) => self.choose(true).await?,
            Some(Request::ResponseHeaders(headers)) => {
                let own = message::own_answer(&message.attributes);
                self.answer_begins(&headers, message::served(metadata.as_ref()), own);
            }
            Some(Request::ResponseBody(piece)) => self.answer_goes_on(piece),
            Some(Request::ResponseTrailers(_)) => {
                if let Phase::Going(going) = &mut self.phase {
                    going.ends();
                }
                self.say(message::trailers(Of::Answer));
            }
        }
        Ok(())
    }

    /// The head of the request.
    fn begin(&mut self, headers: HttpHeaders, metadata: Option<&Metadata>) -> Result<(), Wrong> {
        if !matches!(self.phase, Phase::New) {
            return Err(out_of_order("a second head of a request"));
        }
        let head = Head::read(headers.headers);
        let strategy = match self.picker.ranking.wants(&head.method, &head.path, &head.headers)? {
            Wants::Models(answer) => {
                let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
                self.say(message::at_once(StatusCode::OK, json, answer.to_string()));
                self.phase = Phase::Over;
                return Ok(());
            }
            Wants::Engine(strategy) => strategy,
        };
        if headers.end_of_stream {
            // An empty body.
            return Err(Refusal::Json.into());
        }
        if self.modes.0 != BodySendMode::FullDuplexStreamed {
            let text = "processing_mode.request_body_mode of Envoy's ext_proc filter is not FULL_DUPLEX_STREAMED: set it so";
            tracing::warn!(mode = self.modes.0.as_str_name(), "{text}");
            return Err(Wrong::Protocol(Status::failed_precondition(text)));
        }
        self.picker.room.admit(head.announced())?;
        let (subset, body) = (metadata.and_then(Subset::read), self.picker.room.arriving());
        self.phase = Phase::Asking(Box::new(Asking { head, strategy, subset, body }));
        Ok(())
    }

    async fn body(&mut self, piece: &HttpBody) -> Result<(), Wrong> {
        let Phase::Asking(asking) = &mut self.phase else {
            return Err(out_of_order("a body without a request"));
        };
        asking.body.push(&piece.body)?;
        if piece.end_of_stream {
            self.choose(false).await?;
        }
        Ok(())
    }

    /// The request is there.
    async fn choose(&mut self, trailers: bool) -> Result<(), Wrong> {
        let Phase::Asking(asking) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Err(out_of_order("trailers without a request"));
        };
        let Asking { head, strategy, subset, body } = *asking;
        let body = body.whole();
        let mut ranked = self.picker.ranking.rank(&body, &head.headers, &strategy).await?;
        if let Some(subset) = subset {
            ranked.choices.retain(|choice| subset.allows(&choice.address));
            if ranked.choices.is_empty() {
                let name = ranked.model.name.clone();
                return Err(Wrong::Refused((Some(name.clone()), Refusal::NoneAllowed(name.to_string()))));
            }
        }
        self.deadline = None;
        let going = Going::new(ranked, self.picker.endpoints, &self.picker.metrics);
        self.say(message::sent_to(&going.endpoints(), (!trailers).then_some(body.len())));
        self.answers.push_back(Outgoing::Body(Of::Request, body, !trailers));
        if trailers {
            self.say(message::trailers(Of::Request));
        }
        self.phase = Phase::Going(Box::new(going));
        Ok(())
    }

    fn answer_begins(&mut self, headers: &HttpHeaders, served: Option<&str>, own: Option<&str>) {
        let mut by = None;
        if let Phase::Going(going) = &mut self.phase {
            if let Some(status) = message::status(headers.headers.as_ref()) {
                by = going.begins(Begun { status, served, own });
            }
            if headers.end_of_stream || self.modes.1 == BodySendMode::None {
                going.read();
            }
            if headers.end_of_stream {
                going.ends();
            }
        } else {
            // Envoy has answered by itself, and waits for no endpoint any more.
            self.phase = Phase::Over;
        }
        self.say(message::passed_on(by.as_deref().map(|by| (SERVED_BY, by))));
    }

    fn answer_goes_on(&mut self, piece: HttpBody) {
        if let Phase::Going(going) = &mut self.phase {
            going.read();
            if piece.end_of_stream {
                going.ends();
            }
        }
        match self.modes.1 {
            BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => {
                let body = Outgoing::Body(Of::Answer, piece.body.into(), piece.end_of_stream);
                self.answers.push_back(body);
            }
            _ => self.say(message::unchanged(Of::Answer)),
        }
    }

    fn refuse(&mut self, model: Option<&str>, refusal: &Refusal) {
        // Who has more requests than it can take drops some: the protocol's word for that is 429.
        let status = match refusal {
            Refusal::Full => StatusCode::TOO_MANY_REQUESTS,
            other => other.status(),
        };
        self.picker.metrics.refused(model, status);
        self.phase = Phase::Over;
        self.say(message::at_once(status, refusal.headers(), refusal.body()));
    }

    fn say(&mut self, message: ProcessingResponse) {
        self.answers.push_back(Outgoing::Message(Box::new(message)));
    }
}

fn out_of_order(what: &str) -> Wrong {
    Wrong::Protocol(Status::invalid_argument(format!("messages out of order: {what}")))
}
