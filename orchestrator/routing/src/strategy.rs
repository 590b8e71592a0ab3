//! Strategies by the names that AIBrix's users write in the header `routing-strategy`.

use std::str::FromStr;

use crate::score::Scorer;

/// The largest weight, as AIBrix has it.
const HEAVIEST: u32 = 1_000_000;

/// How endpoints are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The weighted sum of scores.
    Scores(Vec<(Scorer, u32)>),
    /// Two at random, and of them the one with fewer requests: no two gateways agree on one endpoint.
    PowerOfTwo,
}

/// What stands for what. A name that AIBrix has and that is not here is refused rather than taken for another.
const NAMES: [(&str, Scorer); 8] = [
    ("least-work", Scorer::LeastWork),
    ("prefix-cache", Scorer::PrefixCache),
    ("least-request", Scorer::LeastRequest),
    ("least-kv-cache", Scorer::LeastKvCache),
    // The series that AIBrix reads for it has been removed from vLLM; the cache is the same.
    ("least-gpu-cache", Scorer::LeastKvCache),
    ("session-affinity", Scorer::SessionAffinity),
    ("random", Scorer::Random),
    // AIBrix reads a share of GPU time that no engine reports, and so chooses at random.
    ("least-busy-time", Scorer::LeastWork),
];
const POWER_OF_TWO: &str = "power-of-two";

/// A text that is no strategy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStrategy {
    /// No scorer of that name.
    #[error("there is no routing strategy '{0}'; there are {names}, {POWER_OF_TWO}, and several with weights, such as prefix-cache:3,least-request:1", names = names())]
    Name(String),
    /// A weight that is none.
    #[error("the weight of '{0}' is not a whole number from 0 to {HEAVIEST}")]
    Weight(String),
    /// A scorer that is there twice, under whatever names.
    #[error("'{0}' is there twice")]
    Twice(String),
    /// It compares by itself.
    #[error("{POWER_OF_TWO} cannot be combined with others")]
    Alone,
    /// Nothing would count.
    #[error("all weights are 0")]
    Weightless,
}

fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

impl Default for Strategy {
    /// Prefixes and load in one unit: a hot spot costs as much as it makes wait.
    fn default() -> Self {
        Self::Scores(vec![(Scorer::LeastWork, 1)])
    }
}

impl Strategy {
    /// What is added up.
    pub(crate) fn scorers(&self) -> &[(Scorer, u32)] {
        match self {
            Self::PowerOfTwo => &[],
            Self::Scores(scorers) => scorers,
        }
    }

    /// Whether chance alone decides.
    pub(crate) fn is_by_chance(&self) -> bool {
        self.scorers().iter().all(|(scorer, _)| *scorer == Scorer::Random)
    }

    /// Whether what an endpoint has cached decides more than how busy it is, so that its load must be bounded.
    pub(crate) fn follows_prefixes(&self) -> bool {
        matches!(self, Self::Scores(scores) if scores.iter().any(|(scorer, _)| *scorer == Scorer::PrefixCache))
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    /// `NAME` or `NAME:WEIGHT,NAME:WEIGHT`; without a weight it is 1.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == POWER_OF_TWO {
            return Ok(Self::PowerOfTwo);
        }
        // Whoever repeats a name does so in the way of all other requests, so each is taken once and there is an end.
        let mut read: Vec<(Scorer, u32)> = vec![];
        for part in text.split(',') {
            let part = part.trim();
            let (name, weight) = match part.split_once(':') {
                None => (part, Ok(1)),
                Some((name, weight)) => (name.trim(), weight.trim().parse::<u32>()),
            };
            if name == POWER_OF_TWO {
                return Err(UnknownStrategy::Alone);
            }
            let known = NAMES.iter().find(|(known, _)| *known == name);
            let (_, named) = known.ok_or_else(|| UnknownStrategy::Name(short(name)))?;
            let weight = weight.ok().filter(|weight| *weight <= HEAVIEST);
            if read.iter().any(|(known, _)| known == named) {
                return Err(UnknownStrategy::Twice(short(name)));
            }
            read.push((*named, weight.ok_or_else(|| UnknownStrategy::Weight(short(name)))?));
        }
        if read.iter().all(|(_, weight)| *weight == 0) {
            return Err(UnknownStrategy::Weightless);
        }
        Ok(Self::Scores(read))
    }
}

/// A name that a stranger wrote, for an error.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_weights_are_read() {
        let read = |text: &str| text.parse::<Strategy>();
        assert_eq!(read("power-of-two"), Ok(Strategy::PowerOfTwo));
        assert_eq!(read("random"), Ok(Strategy::Scores(vec![(Scorer::Random, 1)])));
        let several = vec![(Scorer::PrefixCache, 3), (Scorer::LeastRequest, 1)];
        assert_eq!(read("prefix-cache: 3, least-request"), Ok(Strategy::Scores(several)));
    }

    #[test]
    fn what_is_none_is_refused_with_what_there_is() {
        let refused = |text: &str| text.parse::<Strategy>().unwrap_err();
        assert_eq!(refused("random:-1"), UnknownStrategy::Weight("random".to_owned()));
        assert_eq!(refused("random:1000001"), UnknownStrategy::Weight("random".to_owned()));
        assert_eq!(refused("power-of-two,random"), UnknownStrategy::Alone);
        assert_eq!(refused(&vec!["random"; 50_000].join(",")), UnknownStrategy::Twice("random".to_owned()));
        assert_eq!(
            refused("least-kv-cache,least-gpu-cache"),
            UnknownStrategy::Twice("least-gpu-cache".to_owned())
        );
        assert_eq!(refused("random:0,least-request:0"), UnknownStrategy::Weightless);
        assert_eq!(
            refused("pd").to_string(),
            "there is no routing strategy 'pd'; there are least-work, prefix-cache, least-request, least-kv-cache, least-gpu-cache, \
             session-affinity, random, least-busy-time, power-of-two, and several with weights, such as prefix-cache:3,least-request:1"
        );
        assert!(refused(&"x".repeat(9000)).to_string().len() < 400);
        assert_eq!(refused(""), UnknownStrategy::Name(String::new()));
    }
}
