//! The strategies of the crate, and those of others as their sources describe them.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::time::Duration;

use rayfleet_routing::{PromptHasher, Report, Request, Router, Strategy, Ticket};

use crate::trace::{Asked, BLOCK};

/// Who chooses.
pub(crate) enum Policy {
    Ours { router: Box<Router>, strategy: Strategy, tickets: HashMap<usize, Ticket>, random: u64 },
    Others { kind: Others, in_flight: Vec<usize>, seen: Vec<HashSet<u64>>, sent: HashMap<usize, usize> },
}

#[derive(Clone, Copy)]
pub(crate) enum Others {
    RoundRobin,
    /// AIBrix 0.7: if requests differ by more than 8 the least busy; else, by the share that matches, the first whose requests are at most
    /// the mean and one standard deviation; else the least busy.
    Aibrix,
    /// smg 1.13's `cache_aware`: where load is uneven (by more than 32, and 1.1 times) the least busy; else the longest match if it is
    /// more than half; else the one with the least in its tree.
    Smg,
}

impl Policy {
    pub(crate) fn named(name: &str, groups: usize) -> Result<Self, Box<dyn Error>> {
        let others = |kind| Self::Others {
            kind,
            in_flight: vec![0; groups],
            seen: vec![HashSet::new(); groups],
            sent: HashMap::new(),
        };
        Ok(match name {
            "round-robin" => others(Others::RoundRobin),
            "aibrix-prefix-cache" => others(Others::Aibrix),
            "smg-cache-aware" => others(Others::Smg),
            ours => {
                let mut router = Box::new(Router::default());
                router.set_endpoints((0..groups).map(|at| (at.to_string().into(), "a".into())));
                Self::Ours { router, strategy: ours.parse()?, tickets: HashMap::new(), random: 1 }
            }
        })
    }

    pub(crate) fn report(&mut self, group: usize, requests: usize, now: f64) {
        if let Self::Ours { router, .. } = self {
            let report = Report { requests: requests as u64, kv_use: None };
            router.report(&group.to_string(), report, Duration::from_secs_f64(now));
        }
    }

    /// Chooses a group and sends the request there.
    pub(crate) fn pick(&mut self, number: usize, asked: &Asked) -> usize {
        match self {
            Self::Ours { router, strategy, tickets, random } => {
                *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let request = Request { prompt: prompt(asked), session: None };
                let now = Duration::from_secs_f64(asked.at);
                let Ok(choices) = router.pick(&request, strategy, now, *random >> 11) else { return 0 };
                let Some(choice) = choices.first() else { return 0 };
                tickets.insert(number, router.begin(&choice.id, &request.prompt));
                choice.id.parse().unwrap_or(0)
            }
            Self::Others { kind, in_flight, seen, sent } => {
                let to = others(*kind, number, in_flight, seen, asked);
                if let Some(count) = in_flight.get_mut(to) {
                    *count += 1;
                }
                if let Some(seen) = seen.get_mut(to) {
                    seen.extend(&asked.blocks);
                }
                sent.insert(number, to);
                to
            }
        }
    }

    pub(crate) fn answered(&mut self, number: usize) {
        if let Self::Ours { router, tickets, .. } = self
            && let Some(ticket) = tickets.get_mut(&number)
        {
            router.answered(ticket);
        }
    }

    pub(crate) fn end(&mut self, number: usize, now: f64) {
        match self {
            Self::Ours { router, tickets, .. } => {
                if let Some(ticket) = tickets.remove(&number) {
                    router.end(ticket, None, Duration::from_secs_f64(now));
                }
            }
            Self::Others { in_flight, sent, .. } => {
                if let Some(count) = sent.remove(&number).and_then(|to| in_flight.get_mut(to)) {
                    *count -= 1;
                }
            }
        }
    }
}

/// A prompt of as many bytes as its tokens have, the same for the same blocks.
fn prompt(asked: &Asked) -> rayfleet_routing::Prompt {
    let mut hasher = PromptHasher::new(1, b"");
    let mut left = asked.prompt;
    for block in &asked.blocks {
        let tokens = left.min(BLOCK);
        left -= tokens;
        let words = usize::try_from(tokens / 2).unwrap_or(0);
        hasher.push(&block.to_le_bytes().repeat(words));
    }
    hasher.finish()
}

#[expect(clippy::cast_precision_loss, reason = "means of counts")]
fn others(kind: Others, number: usize, in_flight: &[usize], seen: &[HashSet<u64>], asked: &Asked) -> usize {
    let groups = 0..in_flight.len();
    let busy = |at: usize| in_flight.get(at).copied().unwrap_or_default();
    let least = groups.clone().min_by_key(|at| (busy(*at), *at)).unwrap_or(0);
    let (fewest, most) = (busy(least), in_flight.iter().max().copied().unwrap_or_default());
    let matched = |at: usize| {
        let known = |block: &&u64| seen.get(at).is_some_and(|seen| seen.contains(block));
        asked.blocks.iter().take_while(known).count()
    };
    match kind {
        Others::RoundRobin => number % in_flight.len(),
        Others::Aibrix if most - fewest > 8 => least,
        Others::Aibrix => {
            let mean = in_flight.iter().sum::<usize>() as f64 / in_flight.len() as f64;
            let variance = in_flight.iter().map(|count| (*count as f64 - mean).powi(2)).sum::<f64>()
                / in_flight.len() as f64;
            let mut ranked: Vec<(usize, usize)> =
                groups.map(|at| (matched(at), at)).filter(|(matched, _)| *matched > 0).collect();
            ranked.sort_by_key(|(matched, at)| (std::cmp::Reverse(*matched), busy(*at)));
            let fits = |at: &usize| busy(*at) as f64 <= mean + variance.sqrt();
            ranked.into_iter().map(|(_, at)| at).find(fits).unwrap_or(least)
        }
        Others::Smg if most - fewest > 32 && most as f64 > 1.1 * fewest as f64 => least,
        Others::Smg => {
            let (longest, at) = groups
                .clone()
                .map(|at| (matched(at), at))
                .max_by_key(|(matched, _)| *matched)
                .unwrap_or((0, least));
            if longest * 2 > asked.blocks.len() {
                return at;
            }
            groups.min_by_key(|at| seen.get(*at).map_or(0, HashSet::len)).unwrap_or(least)
        }
    }
}
