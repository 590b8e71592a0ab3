//! Follows a job's log over a WebSocket. The caller reconnects; the position is kept for that.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Method, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Dashboard, job};
use crate::SubmissionId;
use crate::http::{CallError, CallErrorKind, Endpoint, longest};

/// One event of a followed log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// Text; it may end inside a line.
    Text(String),
    /// Nothing arrived for as long as the caller wanted to wait. Either everything written so far has been
    /// read, or the connection is dead: Ray answers no pings, so only [`Dashboard::job`] distinguishes the
    /// two.
    Quiet,
    /// Ray closed the stream. That does not prove that the job has ended: Ray also closes it when the node
    /// that writes the log is lost.
    Closed,
}

/// A log that is being followed.
#[derive(Debug)]
pub struct LogStream {
    socket: WebSocketStream<Upgraded>,
    endpoint: Endpoint,
    path: String,
    skip: u64,
    position: u64,
}

impl Dashboard {
    /// Follows a job's log from byte `from` on. Ray always sends the log from its beginning; the bytes before
    /// `from` are skipped.
    ///
    /// Waits if the job has not started. [`CallErrorKind::NotFound`] if there is no such job;
    /// [`CallErrorKind::Rejected`] and [`CallErrorKind::Malformed`] if a proxy on the way does not support
    /// `WebSockets`: then [`Dashboard::log_tail`] can be polled.
    pub async fn log_stream(&self, id: &SubmissionId, from: u64) -> Result<LogStream, CallError> {
        let path = job::path(id, "/logs/tail");
        let key = generate_key();
        let malformed = |what: String| self.0.malformed(&path, what);
        let key_header = HeaderValue::try_from(&key).map_err(|e| malformed(e.to_string()))?;
        let reply = self
            .0
            .upgrade(&path, |request| {
                let headers = request.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(SEC_WEBSOCKET_KEY, key_header.clone());
            })
            .await?;
        let accepted = reply.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_owned());
        if accepted.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(malformed("it upgrades to a protocol other than WebSocket".to_owned()));
        }
        let upgraded = reply.upgrade().await.map_err(|e| malformed(e.to_string()))?;
        let limit = longest::LIST.min(self.0.limits.reply_bytes);
        let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok(LogStream { socket, endpoint: self.0.clone(), path, skip: from, position: 0 })
    }
}

impl LogStream {
    /// The next event, or [`LogEvent::Quiet`] after `quiet`. An error ends this stream.
    pub async fn next(&mut self, quiet: Duration) -> Result<LogEvent, CallError> {
        loop {
            let Ok(message) = tokio::time::timeout(quiet, self.socket.next()).await else {
                return Ok(LogEvent::Quiet);
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text.to_string(),
                Some(Ok(Message::Binary(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
                Some(Ok(Message::Close(frame))) => match frame {
                    Some(frame) if u16::from(frame.code) != 1000 => {
                        return Err(self.broken(format!("closed with code {}: {}", frame.code, frame.reason)));
                    }
                    _ => return Ok(LogEvent::Closed),
                },
                Some(Ok(_)) => continue,
                Some(Err(Error::ConnectionClosed)) => return Ok(LogEvent::Closed),
                Some(Err(Error::Capacity(CapacityError::MessageTooLong { max_size, .. }))) => {
                    return Err(self.failed(CallErrorKind::TooLarge { limit: max_size }));
                }
                Some(Err(
                    error @ (Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)),
                )) => return Err(self.broken(error.to_string())),
                Some(Err(error)) => return Err(self.endpoint.malformed(&self.path, error.to_string())),
                None => return Err(self.broken("closed without a close frame".to_owned())),
            };
            if let Some(new) = self.take(text) {
                return Ok(LogEvent::Text(new));
            }
        }
    }

    /// Bytes of the log received so far, skipped ones included: where another stream should continue.
    pub fn position(&self) -> u64 {
        self.position.max(self.skip)
    }

    /// The part of a text after the skipped bytes.
    fn take(&mut self, text: String) -> Option<String> {
        let begins = self.position;
        self.position = begins.saturating_add(text.len() as u64);
        let before = usize::try_from(self.skip.saturating_sub(begins)).unwrap_or(usize::MAX);
        if before == 0 {
            return Some(text).filter(|text| !text.is_empty());
        }
        // If the log was rewritten meanwhile, a character may straddle the position: it is returned whole.
        let border = (0..=before.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.get(border..).filter(|rest| !rest.is_empty()).map(str::to_owned)
    }

    fn broken(&self, cause: String) -> CallError {
        self.failed(CallErrorKind::Unreachable { refused: false, cause })
    }

    fn failed(&self, kind: CallErrorKind) -> CallError {
        self.endpoint.fail(&Method::GET, &self.path, kind)
    }
}
