//! Signs of life of a group's machines: does a pod's address still take connections? The kernel answers those, so a busy
//! pod does not count as dead, and a machine without power is missed long before Ray or Kubernetes miss it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use ray_bridge::Bridge;

/// Time between questions.
const ASK: Duration = Duration::from_secs(2);
/// A machine that is silent for this long, and for at least three questions, is gone.
const SILENCE: Duration = Duration::from_secs(5);

/// What was heard of each address.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    asked: Option<Instant>,
    /// Last sign of each address that ever gave one. A policy may forbid the port: that is no death.
    heard: BTreeMap<String, Instant>,
}

impl Signs {
    /// Asks, if it is time, and gives the addresses that are gone.
    pub(crate) async fn look(&mut self, bridge: &Bridge, ips: &[String], now: Instant) -> Vec<String> {
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK);
        if due {
            self.asked = Some(now);
            let answers = join_all(ips.iter().map(|ip| bridge.gives_sign(ip))).await;
            self.enter(ips.iter().zip(answers), now);
        }
        self.gone(ips, now)
    }

    fn enter<'a>(&mut self, answers: impl Iterator<Item = (&'a String, bool)>, now: Instant) {
        let answers: BTreeMap<&String, bool> = answers.collect();
        self.heard.retain(|ip, _| answers.contains_key(ip));
        for (ip, answered) in answers {
            if answered {
                self.heard.insert(ip.clone(), now);
            }
        }
    }

    fn gone(&self, ips: &[String], now: Instant) -> Vec<String> {
        let silent = |ip: &&String| {
            self.heard.get(*ip).is_some_and(|last| now.saturating_duration_since(*last) >= SILENCE)
        };
        ips.iter().filter(silent).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn only_an_address_that_once_answered_can_be_gone() {
        let (one, other) = ("10.0.0.1".to_owned(), "10.0.0.2".to_owned());
        let ips = [one.clone(), other.clone()];
        let start = clock::monotonic();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut signs = Signs::default();
        signs.enter([(&one, true), (&other, false)].into_iter(), start);
        signs.enter([(&one, false), (&other, false)].into_iter(), after(4));
        assert!(signs.gone(&ips, after(4)).is_empty());
        assert_eq!(signs.gone(&ips, after(5)).as_slice(), std::slice::from_ref(&one));
        signs.enter([(&one, true), (&other, false)].into_iter(), after(6));
        assert!(signs.gone(&ips, after(7)).is_empty());
    }

    #[test]
    fn an_address_that_is_not_of_the_group_any_more_is_forgotten() {
        let one = "10.0.0.1".to_owned();
        let start = clock::monotonic();
        let mut signs = Signs::default();
        signs.enter([(&one, true)].into_iter(), start);
        signs.enter(std::iter::empty(), start);
        assert!(signs.gone(&[one], start + Duration::from_mins(1)).is_empty());
    }
}
