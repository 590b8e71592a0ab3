//! When an agent looks, and when what its engine says by itself is enough: an engine that serves and has a watch is asked for nothing
//! but, now and then, whether its dashboard answers.

use std::time::{Duration, Instant};

use ray_bridge::engine::{Health, Load};
use ray_bridge::{Bridge, Target};
use rayfleet_core::observed::{ObservedEngine, ObservedJob};

use super::{Agent, DEEP, LOOK, Lines, STEADY};
use crate::agents::assignment::{Assignment, Engine, PollInterval, Submission};
use crate::agents::engine_watch::{Port, WatchEvent};
use crate::clock;

/// Time between two questions for the job, and between two looks at everything, while the engine itself says that it serves and its
/// launcher calls when ranks or nodes change: what they find then is that the dashboard answers.
const RESTING_JOB: Duration = Duration::from_secs(8);
const RESTING_DEEP: Duration = Duration::from_mins(2);
/// Longest time without a report. To the core one of half a minute is none.
const REPORT: Duration = Duration::from_secs(10);

impl Agent {
    /// Looks at the group, or takes what its engine says by itself for it while that is enough.
    pub(super) async fn attend(
        &mut self,
        assignment: &Assignment,
        target: &Target,
        heard: Option<WatchEvent>,
    ) {
        if let Some((deep, port)) = self.due(assignment, target, heard).await
            && self.look(assignment, target, deep, port).await
        {
            self.look(assignment, target, true, None).await;
        }
        // Where the watch is not enough its lines would only lead to more looks than there are without it.
        match self.watchable(assignment).filter(|of| self.resting.as_ref() == Some(*of)) {
            Some(of) => self.open_watch(of, target).await,
            None => self.watch.close(),
        }
    }

    /// The look that is due: whether at everything, and what is known of the engine's port. Without one, what the engine says has been
    /// reported.
    async fn due(
        &mut self,
        assignment: &Assignment,
        target: &Target,
        heard: Option<WatchEvent>,
    ) -> Option<(bool, Option<Port>)> {
        let now = clock::monotonic();
        let is_over =
            |last: Option<Instant>, time| last.is_none_or(|last| now.saturating_duration_since(last) >= time);
        let asked = Some((is_over(self.last_deep, DEEP), None));
        // Taken whatever follows: left over, it would make every wait one of no time.
        let waited = std::mem::take(&mut self.lines.wait);
        let is_line = waited || heard.is_some();
        let Some(of) = self.watchable(assignment) else {
            self.watch.close();
            return asked;
        };
        match heard {
            Some(WatchEvent::Broken(port)) => return Some((true, port)),
            Some(WatchEvent::Called) => self.called = true,
            Some(WatchEvent::Ended) => self.open_watch(of, target).await,
            Some(WatchEvent::Counts) | None => {}
        }
        if self.resting.as_ref() != Some(of) || !self.watch.is_of(of) {
            return asked;
        }
        let Some((at, load)) = self.watch.last().map(|(at, load)| (at, load.cloned())) else { return asked };
        let Some(load) = load else {
            // The first line is on its way.
            return asked.filter(|_| is_over(Some(at), STEADY));
        };
        let called = self.called && is_over(self.last_deep, STEADY);
        // Lines may come many times a second; what they say is read and reported as often as an engine that is asked would be. One that
        // comes after a while is taken at once.
        let doubted = std::mem::take(&mut self.doubted);
        if !called && !doubted && !is_over(if is_line { self.lines.taken } else { self.attended }, STEADY) {
            self.lines.wait = is_line;
            return None;
        }
        self.attended = Some(now);
        if is_line {
            self.lines = Lines { taken: Some(now), wait: false };
        }
        let load = with_progress(&self.shared.bridge, target, load).await;
        if called || is_over(self.last_look, RESTING_JOB) {
            return Some((called || is_over(self.last_deep, RESTING_DEEP), Some((Health::Serving, load))));
        }
        self.go_on(assignment, of, load.as_ref(), is_line);
        None
    }

    /// The launch whose watch may be enough: of a group at which nothing is about to happen.
    fn watchable<'a>(&self, assignment: &'a Assignment) -> Option<&'a Submission> {
        match &assignment.engine {
            Engine::Launched { submission, .. } => {
                let rests = self.shared.engine_watch && assignment.pace == PollInterval::Steady;
                Some(submission).filter(|_| rests)
            }
            Engine::Own { .. } => None,
        }
    }

    /// For how long nothing is to be asked or reported of an engine that is watched, unless it says something or a machine falls silent;
    /// `None` if it has to be attended to as often as one that is asked.
    pub(super) fn undisturbed(&self, assignment: &Assignment) -> Option<Duration> {
        let of = self.watchable(assignment)?;
        let now = clock::monotonic();
        let idle = self.watch.last().is_some_and(|(_, load)| load.is_some_and(|load| load.awaiting == 0));
        let rests = self.resting.as_ref() == Some(of) && self.watches(assignment) && idle && !self.called;
        if !rests || !self.shared.reachability.is_clear(&assignment.group, now) {
            return None;
        }
        let (reported, _) = self.reported.as_ref()?;
        let due = (self.last_look? + RESTING_JOB).min(*reported + REPORT);
        Some(clock::slot(due).saturating_duration_since(now).max(STEADY))
    }

    /// Whether the engine is watched.
    pub(super) fn watches(&self, assignment: &Assignment) -> bool {
        self.watchable(assignment).is_some_and(|of| self.watch.is_of(of))
    }

    /// Whether the launch was healthy at the last look.
    pub(super) fn serves(&self, assignment: &Assignment) -> bool {
        let Engine::Launched { submission, .. } = &assignment.engine else { return false };
        self.memory.was_healthy(Some(submission))
    }

    /// Opens the watch of a launch that has none.
    async fn open_watch(&mut self, of: &Submission, target: &Target) {
        if !self.watch.is_of(of)
            && let Some(engine) = self.shared.bridge.engine(target)
        {
            self.watch.open(of, &engine, &self.shared.metrics.watched_engines).await;
        }
    }

    /// Reports that all is as it was, if that is worth a report.
    fn go_on(&mut self, assignment: &Assignment, of: &Submission, load: Option<&Load>, is_new: bool) {
        let now = clock::monotonic();
        let same = self.reported.as_ref().is_some_and(|(at, reach)| {
            now.saturating_duration_since(*at) < REPORT
                && *reach == self.shared.reachability.of(&assignment.group, now)
        });
        let idle = load.is_some_and(|load| load.awaiting == 0);
        if same && idle && !is_new {
            return;
        }
        if let Some(report) = self.memory.goes_on(of, load, clock::now()) {
            self.report(assignment, Ok(report));
        }
    }
}

/// Adds whether the engine makes steps, if requests wait for it.
async fn with_progress(bridge: &Bridge, target: &Target, load: Load) -> Option<Load> {
    let engine = bridge.engine(target)?;
    tokio::time::timeout(LOOK / 3, engine.with_progress(load)).await.ok()?.ok()
}

/// An engine about which there is nothing to find out: it serves, where it was planned, by its own and by Ray's word.
pub(super) fn is_well(engine: &ObservedEngine) -> bool {
    let runs = engine.job == Some(ObservedJob::Running) && engine.healthy;
    runs && engine.failure.is_none() && engine.unverified.is_none() && engine.differences.is_empty()
}
