//! One completion, short or streamed: the request, and the checks that its answer must pass.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::connection::{Client, describe};
use super::failure::RequestFailure;
use super::sse::Events;

const LONGEST_BODY: usize = 4 << 20;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) model: &'a str,
    pub(super) prompt: String,
    /// The answer must have exactly this many.
    pub(super) tokens: u32,
    pub(super) stream: bool,
    /// Longest wait for the head of the answer and for each further chunk.
    pub(super) patience: Duration,
}

impl Question<'_> {
    fn body(&self) -> Bytes {
        let mut body = json!({
            "model": self.model, "prompt": self.prompt, "max_tokens": self.tokens, "temperature": 0,
            // Without `ignore_eos` an engine stops where its model does, and the number of tokens proves
            // nothing.
            "ignore_eos": true,
        });
        if self.stream {
            body["stream"] = true.into();
            body["stream_options"] = json!({ "include_usage": true });
        }
        body.to_string().into()
    }
}

/// Sends a request and checks the answer. Returns the text.
pub(super) async fn ask(client: &mut Client, question: &Question<'_>) -> Result<String, RequestFailure> {
    let body = question.body();
    let sent = client.send(Method::POST, "/v1/completions", &body);
    let answer = within(question.patience, "before the answer", sent).await??;
    let (response, sender) = answer.into_parts();
    let status = response.status().as_u16();
    let mut body = Body { incoming: response.into_body(), patience: question.patience };
    if status != 200 {
        let text = String::from_utf8_lossy(&body.whole().await?).chars().take(200).collect();
        client.done(sender);
        return Err(RequestFailure::Status(status, text));
    }
    let text = if question.stream {
        streamed(&mut body, question.tokens).await?
    } else {
        whole(&body.whole().await?, question.tokens)?
    };
    client.done(sender);
    Ok(text)
}

/// The name of the first model that is served.
pub(super) async fn served_model(client: &mut Client, patience: Duration) -> Result<String, RequestFailure> {
    let nothing = Bytes::new();
    let sent = client.send(Method::GET, "/v1/models", &nothing);
    let (response, _) = within(patience, "before the answer", sent).await??.into_parts();
    let status = response.status().as_u16();
    let bytes = Body { incoming: response.into_body(), patience }.whole().await?;
    let wrong =
        || RequestFailure::Status(status, String::from_utf8_lossy(&bytes).chars().take(200).collect());
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    value["data"][0]["id"].as_str().map(str::to_owned).ok_or_else(wrong)
}

fn whole(bytes: &[u8], tokens: u32) -> Result<String, RequestFailure> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| RequestFailure::Wrong(format!("no JSON: {error}")))?;
    let text = value["choices"][0]["text"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err(RequestFailure::Wrong("no text".into()));
    }
    check_usage(&value["usage"], tokens)?;
    Ok(text.to_owned())
}

async fn streamed(body: &mut Body, tokens: u32) -> Result<String, RequestFailure> {
    let (mut events, mut text) = (Events::default(), String::new());
    let (mut usage, mut done) = (Value::Null, false);
    while let Some(bytes) = body.next().await? {
        for data in events.push(&bytes).map_err(RequestFailure::Wrong)? {
            if data == "[DONE]" {
                done = true;
                continue;
            }
            let value: Value = serde_json::from_str(&data)
                .map_err(|error| RequestFailure::Wrong(format!("an event is no JSON: {error}")))?;
            if let Some(error) = value.get("error") {
                return Err(RequestFailure::Truncated(error.to_string().chars().take(200).collect()));
            }
            text.push_str(value["choices"][0]["text"].as_str().unwrap_or_default());
            if value["usage"].is_object() {
                usage = value["usage"].clone();
            }
        }
    }
    if !done {
        return Err(RequestFailure::Truncated(format!(
            "the stream ended without [DONE], {} bytes of text in",
            text.len()
        )));
    }
    check_usage(&usage, tokens)?;
    Ok(text)
}

fn check_usage(usage: &Value, tokens: u32) -> Result<(), RequestFailure> {
    match usage["completion_tokens"].as_u64() {
        Some(count) if count == u64::from(tokens) => Ok(()),
        Some(count) => Err(RequestFailure::Wrong(format!("{count} tokens where {tokens} were asked for"))),
        None => Err(RequestFailure::Wrong("no usage.completion_tokens".into())),
    }
}

/// A body, read chunk by chunk with bounded wait and size.
struct Body {
    incoming: Incoming,
    patience: Duration,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, RequestFailure> {
        match within(self.patience, "in the middle of the answer", self.incoming.frame()).await? {
            None => Ok(None),
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(error)) => Err(RequestFailure::Truncated(describe(&error))),
        }
    }

    async fn whole(&mut self) -> Result<Bytes, RequestFailure> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
            if all.len() > LONGEST_BODY {
                return Err(RequestFailure::Wrong(format!("more than {LONGEST_BODY} bytes")));
            }
        }
        Ok(all.freeze())
    }
}

async fn within<T>(
    patience: Duration,
    when: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, RequestFailure> {
    timeout(patience, future).await.map_err(|_| RequestFailure::Silence(patience.as_secs(), when))
}
