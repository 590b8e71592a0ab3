//! The calls of a bundle that is being made, each with a time limit and a bound. What is read is decided elsewhere.

use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt};
use http::header::DATE;
use jiff::Timestamp;
use kube::Error;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Request;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;
use rayfleet_text::pieces::Page;
use serde_json::Value;

use crate::bundle::manifest::Fault;
use crate::bundle::tail::{Tail, WORDS, tail};
use crate::error;
use crate::fleets::Fleets;

/// Objects per page of a list.
const PAGE: u32 = 250;
/// Longest list, in bytes, and most objects of it. A bundle of a whole cluster has its pods.
const LONGEST_LIST: usize = 48 << 20;
const MOST_OBJECTS: usize = 50_000;

/// The API server.
#[derive(Clone, Copy)]
pub(in crate::bundle) struct Calls<'a> {
    pub(in crate::bundle) fleets: &'a Fleets,
}

/// Objects of a list, and what is missing of it.
pub(super) struct Listed {
    pub(super) objects: Vec<Value>,
    pub(super) cut: Option<String>,
}

impl Calls<'_> {
    /// The API server's version, and its time.
    pub(super) async fn version(&self) -> Result<(Value, Option<Timestamp>), Fault> {
        let read = async {
            let request = http::Request::get("/version").body(Body::empty()).map_err(Error::HttpError)?;
            let reply = self.fleets.client.send(request).await?;
            let date = reply.headers().get(DATE).and_then(|date| date.to_str().ok());
            let date =
                date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
            let mut body = Vec::new();
            let mut stream = reader(reply.into_body()).take(64 << 10);
            // Without a body the time is still good.
            let _ = stream.read_to_end(&mut body).await;
            Ok((serde_json::from_slice(&body).unwrap_or_default(), date))
        };
        self.within(self.fleets.timeout, read).await
    }

    /// All objects of a path that are selected.
    pub(super) async fn list(&self, path: &str, labels: &str, fields: &str) -> Result<Listed, Fault> {
        let mut params = ListParams::default().limit(PAGE).labels(labels).fields(fields);
        let (mut listed, mut bytes) = (Listed { objects: Vec::new(), cut: None }, 0_usize);
        loop {
            let call = async {
                let request = Request::new(path).list(&params).map_err(Error::BuildRequest)?;
                self.fleets.client.request_text(request).await
            };
            let text = match self.within(self.fleets.timeout, call).await {
                Ok(text) => text,
                Err(fault) if listed.objects.is_empty() => return Err(fault),
                Err(fault) => {
                    listed.cut = Some(format!("the rest could not be read: {}", fault.message));
                    return Ok(listed);
                }
            };
            bytes = bytes.saturating_add(text.len());
            let page = Page::of(&text).ok_or_else(|| Fault::silent("the reply is no list"))?;
            let all = page.items.len();
            let read = page.items.into_iter().filter_map(|item| serde_json::from_str(item).ok());
            let before = listed.objects.len();
            listed.objects.extend(read);
            if listed.objects.len() < before + all {
                listed.cut = Some("objects that cannot be read are left out".to_owned());
            }
            match page.metadata.token.filter(|token| !token.is_empty()) {
                Some(_) if bytes > LONGEST_LIST || listed.objects.len() > MOST_OBJECTS => {
                    listed.cut = Some(format!("only the first {} objects", listed.objects.len()));
                    return Ok(listed);
                }
                Some(token) => params.continue_token = Some(token),
                None => return Ok(listed),
            }
        }
    }

    /// One object.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Fault> {
        let call = async {
            let request = http::Request::get(path).body(Vec::new()).map_err(Error::HttpError)?;
            self.fleets.client.request_text(request).await
        };
        let text = self.within(self.fleets.timeout, call).await?;
        serde_json::from_str(&text).map_err(|_| Fault::silent("the reply cannot be read"))
    }

    /// The end of what a path answers, as text.
    pub(super) async fn tail(&self, uri: &str, most: usize) -> Result<Tail, Fault> {
        let call = async {
            let request = http::Request::get(uri).body(Vec::new()).map_err(Error::HttpError)?;
            self.fleets.client.request_stream(request).await
        };
        let stream = self.within(self.fleets.timeout, call).await?;
        Ok(tail(std::pin::pin!(stream), most, self.patience()).await)
    }

    /// How long a text may take to come.
    pub(super) fn patience(self) -> Duration {
        self.fleets.timeout.saturating_mul(3)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Fault> {
        let Fleets { server, namespace, .. } = self.fleets;
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Error::Api(status))) => Err(Fault {
                code: status.code,
                reason: status.reason.clone(),
                message: one_line(&cut(&status.message, WORDS)),
            }),
            Ok(Err(error)) => Err(Fault::silent(error::api(&error, server, namespace, None).message)),
            Err(_) => Err(Fault::late(error::no_answer(server, limit.as_secs_f64()).message)),
        }
    }
}

/// A body as bytes.
fn reader(body: Body) -> impl AsyncRead + Unpin {
    use futures::TryStreamExt;
    use http_body_util::BodyExt;
    Box::pin(body.into_data_stream().map_err(std::io::Error::other).into_async_read())
}
