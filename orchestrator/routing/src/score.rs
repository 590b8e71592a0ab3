//! What speaks for an endpoint: each scorer gives every candidate a number from 0 to 1.

use twox_hash::XxHash3_64;

/// One reason to prefer an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scorer {
    /// Least work, in tokens: prompts there that are not read yet, requests that are under way, and what of this prompt its cache does
    /// not hold.
    LeastWork,
    /// The largest share of the prompt in its prefix cache.
    PrefixCache,
    /// Fewest requests, running or waiting.
    LeastRequest,
    /// The smallest share of the key-value cache in use. One that has not said so has nothing for itself.
    LeastKvCache,
    /// The same endpoint for the same session, as long as it is there; if not, another, and the sessions of others stay.
    SessionAffinity,
    /// Any.
    Random,
}

/// A candidate, as scorers see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) id: &'a str,
    /// Requests there.
    pub(crate) requests: u64,
    /// Work that is ahead of a new request, in tokens.
    pub(crate) work: u64,
    /// Share of its key-value cache in use.
    pub(crate) kv_use: Option<f64>,
    /// Tokens of the prompt that are expected in its cache.
    pub(crate) cached: u64,
}

/// What of a request scorers look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) tokens: u64,
    pub(crate) session: Option<&'a str>,
}

impl Scorer {
    /// Scores of all candidates, in their order.
    pub(crate) fn scores(self, candidates: &[View<'_>], wanted: Wanted<'_>) -> Vec<f64> {
        match self {
            Self::LeastWork => {
                least(candidates.iter().map(|endpoint| {
                    endpoint.work.saturating_add(wanted.tokens.saturating_sub(endpoint.cached))
                }))
            }
            Self::LeastRequest => least(candidates.iter().map(|endpoint| endpoint.requests)),
            Self::PrefixCache => {
                let tokens = wanted.tokens.max(1);
                candidates.iter().map(|endpoint| share(endpoint.cached.min(tokens), tokens)).collect()
            }
            Self::LeastKvCache => {
                candidates.iter().map(|endpoint| endpoint.kv_use.map_or(0.0, |share| 1.0 - share)).collect()
            }
            Self::SessionAffinity => match wanted.session {
                None => vec![1.0; candidates.len()],
                Some(session) => rendezvous(candidates, session),
            },
            // Ties are broken at random.
            Self::Random => vec![1.0; candidates.len()],
        }
    }
}

/// 1 for the least, 0 for the most; all alike are 1.
fn least(amounts: impl Iterator<Item = u64>) -> Vec<f64> {
    let amounts: Vec<u64> = amounts.collect();
    let least = amounts.iter().min().copied().unwrap_or_default();
    let range = amounts.iter().max().copied().unwrap_or_default() - least;
    amounts
        .into_iter()
        .map(|amount| if range == 0 { 1.0 } else { 1.0 - share(amount - least, range) })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a score need not be exact")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Each pair of session and endpoint has a number by itself, and the highest wins: when an endpoint comes or goes, only the sessions that
/// it wins or had won move. The numbers are the same in every gateway.
fn rendezvous(candidates: &[View<'_>], session: &str) -> Vec<f64> {
    let session = XxHash3_64::oneshot(session.as_bytes());
    let numbers: Vec<u64> = candidates
        .iter()
        .map(|endpoint| XxHash3_64::oneshot_with_seed(session, endpoint.id.as_bytes()))
        .collect();
    numbers.iter().map(|number| share(*number, u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of endpoints with so many requests and so many tokens in their caches.
    fn scores(scorer: Scorer, endpoints: &[(u64, u64)], session: Option<&str>) -> Vec<f64> {
        let view = |((requests, cached), id): (&(u64, u64), &'static str)| View {
            id,
            requests: *requests,
            work: requests * 1000,
            kv_use: (*requests > 0).then_some(0.25),
            cached: *cached,
        };
        let views: Vec<View<'_>> = endpoints.iter().zip(["a", "b", "c", "d"]).map(view).collect();
        scorer.scores(&views, Wanted { tokens: 1000, session })
    }

    #[test]
    fn a_cached_prompt_outweighs_work_up_to_its_length() {
        // 1,000 tokens cached against one request more, and against two.
        assert_eq!(scores(Scorer::LeastWork, &[(1, 1000), (0, 0)], None), [1.0, 1.0]);
        assert_eq!(scores(Scorer::LeastWork, &[(2, 1000), (0, 0)], None), [0.0, 1.0]);
    }

    #[test]
    fn fewer_requests_and_longer_prefixes_are_better() {
        assert_eq!(scores(Scorer::LeastRequest, &[(4, 0), (0, 0), (2, 0)], None), [0.0, 1.0, 0.5]);
        assert_eq!(scores(Scorer::LeastRequest, &[(4, 0), (4, 0)], None), [1.0, 1.0]);
        // No more than the prompt counts.
        assert_eq!(scores(Scorer::PrefixCache, &[(0, 500), (0, 0), (0, 2000)], None), [0.5, 0.0, 1.0]);
    }

    #[test]
    fn an_endpoint_that_reports_nothing_has_nothing_for_itself() {
        assert_eq!(scores(Scorer::LeastKvCache, &[(1, 0), (0, 0)], None), [0.75, 0.0]);
    }

    #[test]
    fn a_session_stays_unless_its_endpoint_goes() {
        let best = |endpoints: usize, session: &str| {
            let scores = scores(Scorer::SessionAffinity, &vec![(0, 0); endpoints], Some(session));
            (0..scores.len()).max_by(|one, other| scores[*one].total_cmp(&scores[*other])).unwrap()
        };
        let mut moved = 0;
        for session in 0..400 {
            let session = session.to_string();
            let (before, after) = (best(4, &session), best(3, &session));
            if before == after {
                continue;
            }
            assert_eq!(before, 3, "only sessions of the one that has gone move");
            moved += 1;
        }
        assert!((60..140).contains(&moved), "{moved} of 400, where a quarter is expected");
    }
}
