//! Calls to the API server, each within the time limit and all within that of the run; lists in pages and bounded.
//! What is asked for is in `read`.

use std::future::Future;
use std::time::Duration;

use http::header::DATE;
use jiff::Timestamp;
use kube::api::{GetParams, ListParams};
use kube::client::Body;
use kube::core::Request;
use kube::{Error, Resource};
use rayfleet_text::cut;
use rayfleet_text::pieces::Page;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::answer::{Answer, List, NoAnswer};
use crate::error;
use crate::fleets::Fleets;

/// Objects per page, and pages per list: fleets of 500 groups over eight nodes each have 4,000 pods.
const PAGE: u32 = 250;
const PAGES: usize = 80;
/// Longest part of a refusal, in bytes.
const LONGEST: usize = 512;
/// The whole run may take so many times the limit of one call; in `--help`.
const CALLS: u32 = 6;
/// Longest wait that a busy server gets, in seconds.
const RETRY: u32 = 5;

/// An API server, until the time of the run is over.
pub(super) struct Calls<'a> {
    fleets: &'a Fleets,
    whole: Duration,
    end: Instant,
}

impl<'a> Calls<'a> {
    pub(super) fn new(fleets: &'a Fleets) -> Self {
        let whole = fleets.timeout.saturating_mul(CALLS);
        Self { fleets, whole, end: tokio::time::sleep(whole).deadline() }
    }

    /// Whether anything answers, and its time: this machine's clock may be wrong. Any answer will do.
    pub(super) async fn server_time(&self) -> Answer<Option<Timestamp>> {
        let request = http::Request::get("/version").body(Body::empty());
        let call = async {
            let request = request.map_err(Error::HttpError)?;
            self.fleets.client.send(request).await
        };
        let answer = match self.within(call).await {
            Err(NoAnswer::Missing | NoAnswer::Forbidden { .. }) => return Ok(None),
            answer => answer?,
        };
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(date.map(|date| date.timestamp()))
    }

    /// Lets time pass, and leaves the calls the most of it.
    pub(super) async fn wait(&self, span: Duration) {
        tokio::time::sleep(span.min(self.whole / 4)).await;
    }

    /// One object.
    pub(super) async fn get<T>(
        &self,
        asked: &Asked<'_>,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Answer<T> {
        let request = Request::new(&asked.path).get(name, &GetParams::default());
        let text = self.text("get", asked, request).await?;
        read(&text).ok_or_else(|| unreadable(asked.resource))
    }

    /// A bounded list: what is read before a page fails counts.
    pub(super) async fn list<T>(
        &self,
        asked: &Asked<'_>,
        filter: ListParams,
        read: impl Fn(&str) -> Option<T>,
    ) -> Answer<List<T>> {
        self.pages(asked, filter, PAGES, read).await
    }

    /// The beginning of a list that anyone may make long.
    pub(super) async fn first_page<T>(
        &self,
        asked: &Asked<'_>,
        filter: ListParams,
        read: impl Fn(&str) -> Option<T>,
    ) -> Answer<List<T>> {
        self.pages(asked, filter, 1, read).await
    }

    async fn pages<T>(
        &self,
        asked: &Asked<'_>,
        filter: ListParams,
        most: usize,
        read: impl Fn(&str) -> Option<T>,
    ) -> Answer<List<T>> {
        let mut params = filter.limit(PAGE);
        let mut list = List::default();
        for page in 0..most {
            match self.page(asked, &params, &read, &mut list).await {
                Ok(None) => return Ok(list),
                Ok(token) => params.continue_token = token,
                Err(none) if page == 0 => return Err(none),
                Err(none) => {
                    list.ends = Some(none);
                    return Ok(list);
                }
            }
        }
        list.ends = Some(NoAnswer::TooLong(list.items.len().saturating_add(list.unreadable)));
        Ok(list)
    }

    /// Adds a page to a list; returns where it goes on.
    async fn page<T>(
        &self,
        asked: &Asked<'_>,
        params: &ListParams,
        read: impl Fn(&str) -> Option<T>,
        list: &mut List<T>,
    ) -> Answer<Option<String>> {
        let text = self.text("list", asked, Request::new(&asked.path).list(params)).await?;
        let page = Page::of(&text).ok_or_else(|| unreadable(asked.resource))?;
        for item in page.items {
            match read(item) {
                Some(object) => list.items.push(object),
                None => list.unreadable = list.unreadable.saturating_add(1),
            }
        }
        Ok(page.metadata.token.filter(|token| !token.is_empty()))
    }

    pub(super) async fn text(
        &self,
        verb: &'static str,
        asked: &Asked<'_>,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Answer<String> {
        let call = async {
            let request = request.map_err(Error::BuildRequest)?;
            match self.fleets.client.request_text(request.clone()).await {
                // A server that is busy is asked once more, as late as it wants to be.
                Err(Error::Api(status)) if status.code == 429 => {
                    let wait = status.details.as_ref().map_or(1, |details| details.retry_after_seconds);
                    tokio::time::sleep(Duration::from_secs(wait.clamp(1, RETRY).into())).await;
                    self.fleets.client.request_text(request).await
                }
                answer => answer,
            }
        };
        match self.within(call).await {
            Err(NoAnswer::Forbidden { words, .. }) => Err(NoAnswer::Forbidden {
                verb,
                resource: asked.resource,
                namespace: asked.namespace.to_owned(),
                words,
            }),
            answer => answer,
        }
    }

    /// One call within the time limits.
    async fn within<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Answer<T> {
        let Fleets { server, timeout, namespace, .. } = self.fleets;
        let failed = |fault: rayfleet_cli_kit::CliError| NoAnswer::Failed {
            what: cut(&fault.message, LONGEST),
            cure: fault.cure,
        };
        let call = tokio::time::timeout(*timeout, call);
        let Ok(answer) = tokio::time::timeout_at(self.end, call).await else {
            return Err(NoAnswer::OutOfTime(self.whole.as_secs()));
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Error::Api(status))) if status.code == 404 => Err(NoAnswer::Missing),
            Ok(Err(Error::Api(status))) if status.code == 403 => Err(NoAnswer::Forbidden {
                verb: "",
                resource: "",
                namespace: String::new(),
                words: cut(&status.message, LONGEST),
            }),
            Ok(Err(fault)) => Err(failed(error::api(&fault, server, namespace, None))),
            Err(_) => Err(failed(error::no_answer(server, timeout.as_secs_f64()))),
        }
    }
}

/// Objects of a kind in a namespace; an empty one stands for all.
pub(super) struct Asked<'a> {
    pub(super) path: String,
    pub(super) resource: &'static str,
    pub(super) namespace: &'a str,
}

impl<'a> Asked<'a> {
    pub(super) fn core<K: Resource<DynamicType = ()>>(resource: &'static str, namespace: &'a str) -> Self {
        Self { path: K::url_path(&(), in_namespace(namespace)), resource, namespace }
    }

    pub(super) fn rayclusters(namespace: &'a str) -> Self {
        let path = match in_namespace(namespace) {
            Some(namespace) => format!("/apis/ray.io/v1/namespaces/{namespace}/rayclusters"),
            None => "/apis/ray.io/v1/rayclusters".to_owned(),
        };
        Self { path, resource: "rayclusters.ray.io", namespace }
    }
}

pub(super) fn in_namespace(namespace: &str) -> Option<&str> {
    Some(namespace).filter(|namespace| !namespace.is_empty())
}

fn unreadable(resource: &str) -> NoAnswer {
    NoAnswer::Failed { what: format!("the reply for {resource} cannot be read"), cure: None }
}

/// An object from its text.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use http::{Request as HttpRequest, Response};
    use k8s_openapi::api::core::v1::Pod;
    use kube::Client;

    use super::*;
    use crate::simulated::fleets;

    #[tokio::test(start_paused = true)]
    async fn all_calls_together_have_a_limit() {
        let silent = |_: HttpRequest<Body>| std::future::pending::<Result<Response<Body>, std::io::Error>>();
        let fleets = fleets(Client::new(tower::service_fn(silent), "serving"));
        let calls = Calls::new(&fleets);
        for _ in 0..CALLS {
            assert!(matches!(calls.server_time().await, Err(NoAnswer::Failed { .. })));
        }
        assert_eq!(calls.server_time().await, Err(NoAnswer::OutOfTime(60)));
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_cut_and_what_cannot_be_read_is_counted() {
        let endless = |_: HttpRequest<Body>| {
            let text =
                r#"{"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}, {"odd": 1}]}"#;
            std::future::ready(Response::builder().body(Body::from(text.as_bytes().to_vec())))
        };
        let fleets = fleets(Client::new(tower::service_fn(endless), "serving"));
        let (calls, pods) = (Calls::new(&fleets), Asked::core::<Pod>("pods", "serving"));
        let named = |text: &str| text.contains("name").then_some(());
        let all = calls.list(&pods, ListParams::default(), named).await.unwrap();
        assert_eq!((all.items.len(), all.unreadable, all.ends), (80, 80, Some(NoAnswer::TooLong(160))));
        let first = calls.first_page(&pods, ListParams::default(), named).await.unwrap();
        assert_eq!(first.ends, Some(NoAnswer::TooLong(2)));
    }
}
