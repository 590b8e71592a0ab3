//! One request's ranking of endpoints.

use std::sync::Arc;

use crate::score::{View, Wanted};
use crate::strategy::Strategy;

/// Share of its even part that an endpoint may have of all requests before prefixes lead to another, as in Mirrokni, Thorup and
/// Zadimoghaddam, "Consistent Hashing with Bounded Loads"; 1.25 is the default of brpc's and others' implementations of it.
const EVEN: u64 = 125;
const PERCENT: u64 = 100;
/// Scores that are the same by this many parts of one are even.
const PARTS: f64 = 1e9;

/// A ranked endpoint: the first is the best, and each that follows is where the request goes when those before it cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its identity, as it was given.
    pub id: Arc<str>,
    /// Where it is called.
    pub address: Arc<str>,
    /// Tokens of the prompt that are expected in its cache.
    pub cached: u64,
}

/// No endpoint can take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no group is ready")]
pub struct NoEndpoint;

/// A candidate and where it is.
pub(crate) struct Candidate<'a> {
    pub(crate) id: &'a Arc<str>,
    pub(crate) address: &'a Arc<str>,
    /// It has failed a moment ago, so it comes behind all that have not.
    pub(crate) out: bool,
    pub(crate) view: View<'a>,
}

/// What candidates are ordered by, the smallest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    out: bool,
    /// It has more than its share of requests.
    crowded: bool,
    score: std::cmp::Reverse<i64>,
    /// What is even goes by requests, unless chance was asked for.
    requests: u64,
    draw: u64,
}

/// Ranks candidates. `random` decides what is even.
pub(crate) fn rank(
    candidates: &[Candidate<'_>],
    strategy: &Strategy,
    wanted: Wanted<'_>,
    mut random: u64,
) -> Vec<Choice> {
    let views: Vec<View<'_>> = candidates.iter().map(|candidate| candidate.view).collect();
    let mut scores = vec![0.0; views.len()];
    for (scorer, weight) in strategy.scorers() {
        let of_one = scorer.scores(&views, wanted);
        for (sum, score) in scores.iter_mut().zip(of_one) {
            *sum += f64::from(*weight) * score;
        }
    }
    let most = if strategy.follows_prefixes() { bound(&views) } else { u64::MAX };
    let by_chance = strategy.is_by_chance();
    let ranked = candidates.iter().zip(scores).map(|(candidate, score)| {
        let requests = candidate.view.requests;
        let rank = Rank {
            out: candidate.out,
            crowded: requests >= most,
            score: std::cmp::Reverse(even(score)),
            requests: if by_chance { 0 } else { requests },
            draw: next(&mut random),
        };
        (rank, candidate)
    });
    let mut ranked: Vec<(Rank, &Candidate<'_>)> = ranked.collect();
    ranked.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    // The first two of a shuffle are two at random.
    if *strategy == Strategy::PowerOfTwo
        && let [(_, one), (_, other), ..] = ranked.as_slice()
        && (other.out, other.view.requests) < (one.out, one.view.requests)
    {
        ranked.swap(0, 1);
    }
    let choice = |candidate: &Candidate<'_>| Choice {
        id: candidate.id.clone(),
        address: candidate.address.clone(),
        cached: candidate.view.cached,
    };
    ranked.into_iter().map(|(_, candidate)| choice(candidate)).collect()
}

/// A score as it is compared: rounded, because whether two differ by little is no order.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast saturates, and the heaviest sum of scores is far from that"
)]
fn even(score: f64) -> i64 {
    (score * PARTS).round() as i64
}

/// Requests from which on an endpoint is crowded.
fn bound(views: &[View<'_>]) -> u64 {
    let all = views.iter().fold(1_u64, |all, view| all.saturating_add(view.requests));
    let endpoints = u64::try_from(views.len()).unwrap_or(u64::MAX).max(1);
    all.saturating_mul(EVEN).div_ceil(endpoints.saturating_mul(PERCENT))
}

/// The next of a sequence of random numbers (`SplitMix64`, Steele, Lea and Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
