//! How long a launch waited although it could have been done: the delay that is measured. Pure; no decision follows from it.

use std::time::{Duration, Instant};

use super::assignment::Submission;

/// Since when a launch is possible, and the last one that was done.
#[derive(Debug, Default)]
pub(super) struct LaunchTimer {
    /// Since when all Ray nodes are in.
    since: Option<Instant>,
    last: Option<Submission>,
}

impl LaunchTimer {
    /// Whether all Ray nodes were in when they were looked at.
    pub(super) fn nodes_joined(&mut self, all_in: bool, now: Instant) {
        self.since = all_in.then(|| self.since.unwrap_or(now));
    }

    /// Ray took a launch that was asked for at a moment. Gives how long it waited: since the nodes came in, or since it was asked
    /// for when something ran on them before. A repeated launch is none.
    pub(super) fn launched(&mut self, name: &Submission, asked: Instant, now: Instant) -> Option<Duration> {
        let is_first = self.last.is_none();
        if self.last.replace(name.clone()).as_ref() == Some(name) {
            return None;
        }
        let since = if is_first { self.since.unwrap_or(asked) } else { asked };
        Some(now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_first_launch_waits_from_when_the_nodes_are_in() {
        let (mut launch_timer, now, name) =
            (LaunchTimer::default(), clock::monotonic(), Submission::of("g.e.1".parse().unwrap()).unwrap());
        let at = |seconds| now + Duration::from_secs(seconds);
        launch_timer.nodes_joined(true, at(0));
        launch_timer.nodes_joined(false, at(1));
        launch_timer.nodes_joined(true, at(2));
        launch_timer.nodes_joined(true, at(3));
        assert_eq!(launch_timer.launched(&name, at(4), at(5)), Some(Duration::from_secs(3)));
        assert_eq!(launch_timer.launched(&name, at(6), at(7)), None, "it is the same one");
    }

    #[test]
    fn a_later_launch_waits_from_when_it_is_asked_for() {
        let (mut launch_timer, now) = (LaunchTimer::default(), clock::monotonic());
        let at = |seconds| now + Duration::from_secs(seconds);
        launch_timer.nodes_joined(true, at(0));
        launch_timer.launched(&Submission::of("g.e.1".parse().unwrap()).unwrap(), at(0), at(1));
        let second = Submission::of("g.e.2".parse().unwrap()).unwrap();
        assert_eq!(launch_timer.launched(&second, at(60), at(61)), Some(Duration::from_secs(1)));
    }
}
