//! What one gateway knows of the groups of one fleet, and what it does with a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::ejection::{Failure, Record};
use crate::load::{Load, OLD, Report};
use crate::pick::{Candidate, Choice, NoEndpoint, rank};
use crate::prompt::Prompt;
use crate::score::{View, Wanted};
use crate::strategy::Strategy;

/// A request, as far as routing looks at it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What it asks.
    pub prompt: Prompt,
    /// What it has in common with those that should go to the same endpoint, if anything.
    pub session: Option<String>,
}

/// The groups of one fleet. All times are since one fixed moment.
#[derive(Debug, Default)]
pub struct Router {
    endpoints: BTreeMap<Arc<str>, Endpoint>,
    /// Endpoints so far.
    births: u64,
    /// When the last request was.
    asked: Option<Duration>,
}

#[derive(Debug)]
struct Endpoint {
    birth: u64,
    address: Arc<str>,
    load: Load,
    cache: Cache,
    record: Record,
}

/// A request that was sent and has not ended. It has to come back by [`Router::end`].
#[derive(Debug)]
#[must_use = "a request that never ends is counted for ever"]
pub struct Ticket {
    id: Arc<str>,
    /// One that came back starts from zero, and owes nothing to requests from before.
    birth: Option<u64>,
    prefill: u64,
}

impl Router {
    /// The endpoints that may take requests from now on, by an identity that no other ever gets (a pod's UID), and their addresses. What is
    /// known of one that stays is kept.
    pub fn set_endpoints(&mut self, endpoints: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) {
        let mut before = std::mem::take(&mut self.endpoints);
        let births = &mut self.births;
        self.endpoints = endpoints
            .into_iter()
            .map(|(id, address)| {
                let known = before.remove(&id).filter(|known| known.address == address);
                let new = || {
                    *births = births.wrapping_add(1);
                    let (load, cache, record) = (Load::default(), Cache::default(), Record::default());
                    Endpoint { birth: *births, address, load, cache, record }
                };
                (id, known.unwrap_or_else(new))
            })
            .collect();
    }

    /// Identities and addresses of all endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.endpoints.iter().map(|(id, endpoint)| (id, &endpoint.address))
    }

    /// Whether nobody needs to know how busy the endpoints are: the last request began longer ago than a report is believed.
    pub fn is_idle(&self, now: Duration) -> bool {
        self.asked.is_none_or(|asked| now.saturating_sub(asked) >= OLD)
    }

    /// An endpoint has said how busy it is.
    pub fn report(&mut self, id: &str, report: Report, now: Duration) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.load.report(report, now);
        }
    }

    /// Ranks the endpoints for a request. Those that have failed a moment ago come last. Of one that has not said how busy it is as much is
    /// believed as the others have said on average: silence makes nobody idle.
    ///
    /// # Errors
    /// There is no endpoint.
    pub fn pick(
        &mut self,
        request: &Request,
        strategy: &Strategy,
        now: Duration,
        random: u64,
    ) -> Result<Vec<Choice>, NoEndpoint> {
        self.asked = Some(now);
        let said = self.endpoints.values().filter_map(|endpoint| endpoint.load.others(now));
        let (sum, count) =
            said.fold((0_u64, 0), |(sum, count), others| (sum.saturating_add(others), count + 1));
        let average = sum.checked_div(count).unwrap_or_default();
        let candidates: Vec<Candidate<'_>> = self
            .endpoints
            .iter()
            .map(|(id, endpoint)| {
                let others = endpoint.load.others(now).unwrap_or(average);
                let view = View {
                    id,
                    requests: endpoint.load.requests(others),
                    work: endpoint.load.work(others),
                    kv_use: endpoint.load.kv_use(now),
                    cached: cached(endpoint, &request.prompt),
                };
                Candidate { id, address: &endpoint.address, out: endpoint.record.is_out(now), view }
            })
            .collect();
        if candidates.is_empty() {
            return Err(NoEndpoint);
        }
        let wanted = Wanted { tokens: request.prompt.tokens(), session: request.session.as_deref() };
        Ok(rank(&candidates, strategy, wanted, random))
    }

    /// A request is being sent to an endpoint. One that has left a moment ago is counted nowhere.
    pub fn begin(&mut self, id: &Arc<str>, prompt: &Prompt) -> Ticket {
        let Some(endpoint) = self.endpoints.get_mut(id) else {
            return Ticket { id: id.clone(), birth: None, prefill: 0 };
        };
        let prefill = prompt.tokens().saturating_sub(cached(endpoint, prompt));
        endpoint.load.begin(prefill);
        endpoint.cache.add(prompt);
        Ticket { id: id.clone(), birth: Some(endpoint.birth), prefill }
    }

    /// The answer has begun, and it is none of a failure: the prompt was read, and the endpoint works.
    pub fn answered(&mut self, ticket: &mut Ticket) {
        let prefill = std::mem::take(&mut ticket.prefill);
        if let Some(endpoint) = self.of(ticket) {
            endpoint.load.answered(prefill);
            endpoint.record.succeeded();
        }
    }

    /// The request has ended: by its answer, by its client, or by a failure.
    #[expect(clippy::needless_pass_by_value, reason = "a request ends once")]
    pub fn end(&mut self, ticket: Ticket, failure: Option<Failure>, now: Duration) {
        let Some(endpoint) = self.of(&ticket) else { return };
        endpoint.load.answered(ticket.prefill);
        endpoint.load.end();
        if let Some(failure) = failure {
            endpoint.record.failed(failure, now);
            if failure == Failure::Unreachable {
                // Whatever it had read is gone with its engine, and what was sent to it has not arrived.
                endpoint.cache = Cache::default();
            }
        }
    }

    /// The endpoint that counted a request, if it is still there.
    fn of(&mut self, ticket: &Ticket) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(&ticket.id).filter(|endpoint| ticket.birth == Some(endpoint.birth))
    }
}

/// Tokens of a prompt that an endpoint is expected to have in its cache.
fn cached(endpoint: &Endpoint, prompt: &Prompt) -> u64 {
    prompt.tokens_of(endpoint.cache.holds(prompt))
}

#[cfg(test)]
mod tests;
