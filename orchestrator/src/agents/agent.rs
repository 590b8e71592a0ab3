//! The life of one agent: look, report, carry out commands, look again. What a look asks is in `look.rs`, when it is due in `attend.rs`.

mod attend;
mod commands;
mod look;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use ray_bridge::{Bridge, Target, base_of};
use rayfleet_core::observed::{ObservedProbe, ObservedRay, RayReport};
use tokio::sync::watch;

use super::assignment::{Assignment, Engine, PollInterval, Submission};
use super::engine_watch::GroupWatch;
use super::gate_timer::GateTimer;
use super::launch_latency::LaunchTimer;
use super::listen::listen;
use super::mailbox::Mailbox;
use super::reachability::{GroupReachability, Reachability};
use super::report::ObservationCache;
use super::token::GroupToken;
use crate::clock;
use crate::kubernetes::{Index, Key};
use crate::metrics::Metrics;

/// Time between looks while something is about to happen.
const QUICK: Duration = Duration::from_millis(300);
/// At a group that starts a look may come later by this share of the time waited, up to [`SLOW`]: of a thousand groups that start at
/// once, or one whose model loads for an hour, asking costs no more than what it finds is worth.
const SHARE: u32 = 20;
/// The same of a group that has answered its probe and waits for its gate. It has nothing more to say but that it failed.
const PASSED_SHARE: u32 = 4;
/// Time between two questions for the job of an engine that starts: whether its port answers yet is asked at every look.
const JOB: Duration = Duration::from_secs(1);
/// Longest time between looks at a group that starts.
const SLOW: Duration = Duration::from_secs(4);
/// Time between looks at a group that waits for its pods, or with all of its nodes in for its engine to be launched.
const NO_ENGINE: Duration = Duration::from_secs(2);
/// Time between looks at an engine that serves.
const STEADY: Duration = Duration::from_secs(1);
/// Time between looks at everything, ranks and nodes included, of an engine that serves.
const DEEP: Duration = Duration::from_secs(5);
/// Longest time for one look.
const LOOK: Duration = Duration::from_secs(9);
/// Wait after a command that failed, so that a broken cluster is not flooded.
const AFTER_TROUBLE: Duration = Duration::from_secs(3);

/// What all agents work with.
pub(crate) struct Shared {
    pub(crate) client: kube::Client,
    pub(crate) bridge: Bridge,
    pub(crate) index: Arc<Index>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reachability: Arc<Reachability>,
    /// Whether engines that serve are watched.
    pub(crate) engine_watch: bool,
}

/// One agent.
pub(crate) struct Agent {
    shared: Arc<Shared>,
    token: GroupToken,
    fleet: Key,
    assignment: watch::Receiver<Assignment>,
    commands: Arc<Mailbox>,
    opening: GateTimer,
    memory: ObservationCache,
    /// The probe prompt that is being answered.
    probing: Option<BoxFuture<'static, (Submission, ObservedProbe)>>,
    launch_timer: LaunchTimer,
    /// The last launch that Ray took, and when: it is asked for again until the job is observed.
    launched: Option<(Submission, Instant)>,
    /// The last launch whose end Ray took, and when.
    stopped: Option<(Submission, Instant)>,
    last_deep: Option<Instant>,
    last_look: Option<Instant>,
    /// When the assignment last changed, a command was carried out or a probe answered.
    changed: Instant,
    /// When the last look was that asked for the job.
    last_job: Option<Instant>,
    /// When the last look was that read all there was to read.
    last_full: Option<Instant>,
    /// The launch of which the last look found no job.
    absent: Option<Submission>,
    /// The launch for which the last look found a living node at the address of every pod.
    complete: Option<Submission>,
    /// When what the engine says was last taken for a look.
    attended: Option<Instant>,
    lines: Lines,
    watch: GroupWatch,
    /// The launch that the last look found well in every respect: its watch is enough.
    resting: Option<Submission>,
    /// The launcher wants ranks and nodes to be read.
    called: bool,
    /// A machine of the group has not answered since the last report.
    doubted: bool,
    /// When something was last reported, and how the group was reached then.
    reported: Option<(Instant, GroupReachability)>,
    quiet_until: Option<Instant>,
    /// The head that was asked last.
    head: Option<String>,
    /// The last reply cost more than it was worth: the next one is asked for later.
    slow: bool,
}

/// Lines of the watch.
#[derive(Debug, Default)]
struct Lines {
    /// When one was last taken for a look.
    taken: Option<Instant>,
    /// One came too soon after that.
    wait: bool,
}

impl Agent {
    /// An agent that has not looked yet.
    pub(crate) fn new(
        shared: Arc<Shared>,
        fleet: Key,
        assignment: watch::Receiver<Assignment>,
        commands: Arc<Mailbox>,
        opening: GateTimer,
    ) -> Self {
        Self {
            token: GroupToken::new(shared.client.clone()),
            shared,
            fleet,
            assignment,
            commands,
            opening,
            memory: ObservationCache::default(),
            probing: None,
            launch_timer: LaunchTimer::default(),
            launched: None,
            stopped: None,
            last_deep: None,
            last_look: None,
            changed: clock::monotonic(),
            last_job: None,
            last_full: None,
            absent: None,
            complete: None,
            attended: None,
            lines: Lines::default(),
            watch: GroupWatch::default(),
            resting: None,
            called: false,
            doubted: false,
            reported: None,
            quiet_until: None,
            head: None,
            slow: false,
        }
    }

    /// Works until the registry drops it.
    pub(crate) async fn run(self) {
        let listen =
            listen(self.shared.bridge.clone(), self.shared.reachability.clone(), self.assignment.clone());
        tokio::select! {
            // Neither waits long for its turn: both sleep between what they do.
            biased;
            () = listen => {}
            () = self.work().boxed() => {}
        }
    }

    async fn work(mut self) {
        let mut heard = None;
        loop {
            if self.assignment.has_changed().unwrap_or_default() {
                self.changed = clock::monotonic();
            }
            let assignment = self.assignment.borrow_and_update().clone();
            let target = self.target(assignment.clone()).await;
            match &target {
                Some(Ok(target)) => self.attend(&assignment, target, heard.take()).boxed().await,
                Some(Err(cause)) => {
                    self.lines.wait = false;
                    self.report(&assignment, Err(cause.clone()));
                }
                None => self.lines.wait = false,
            }
            let wait = self.until_next(&assignment);
            let watches = self.watches(&assignment);
            // While the group cannot be reached, commands stay where they are. After trouble they wait: a broken cluster is not flooded.
            let reached = target.and_then(Result::ok).filter(|_| !self.is_quiet());
            let commands = self.commands.clone();
            let command = reached.map(|target| async move { (commands.next().await, target) });
            let (reachability, group, head_ip) =
                (&self.shared.reachability, &assignment.group, assignment.pods.head_ip.as_deref());
            let sign = |at| reachability.record_line(group, head_ip, at);
            tokio::select! {
                // What there is to do before the mere passing of time. Each turn ends in a look, whatever was ready, and a
                // probe is answered once, so commands and looks keep each other from starving.
                biased;
                Some((of, outcome)) = OptionFuture::from(self.probing.as_mut()) => {
                    self.probing = None;
                    self.memory.probed(of, outcome);
                    self.changed = clock::monotonic();
                }
                Some((command, target)) = OptionFuture::from(command) => {
                    self.carry_out(command, &target).await;
                    if !self.is_quiet() {
                        self.changed = clock::monotonic();
                    }
                }
                changed = self.assignment.changed() => match changed {
                    Ok(()) => self.changed = clock::monotonic(),
                    Err(_) => return,
                },
                said = self.watch.next(sign) => heard = Some(said),
                () = reachability.doubted(group), if watches => self.doubted = true,
                () = tokio::time::sleep(wait) => {}
            }
            self.watch.left(clock::monotonic());
        }
    }

    /// Time until the next look, unless something happens before.
    fn until_next(&self, assignment: &Assignment) -> Duration {
        let pace = match assignment.pace {
            _ if self.slow => AFTER_TROUBLE,
            PollInterval::Quick => QUICK,
            PollInterval::Starting if self.awaits_others(assignment) => NO_ENGINE,
            PollInterval::Starting => starting(self.waited(), self.has_passed(assignment)),
            PollInterval::Steady => self.undisturbed(assignment).unwrap_or(STEADY),
        };
        // A command that failed is tried again then.
        let quiet = self.quiet_until.map(|until| until.saturating_duration_since(clock::monotonic()));
        let pace = quiet.filter(|rest| !rest.is_zero()).map_or(pace, |rest| rest.min(pace));
        // A line that came too soon after the last one is taken when its time has come.
        let last = self.lines.taken.filter(|_| self.lines.wait);
        last.map_or(pace, |last| (last + STEADY).saturating_duration_since(clock::monotonic()).min(pace))
    }

    /// Nothing is launched before the containers of all pods are ready, and the assignment changes when they are; once all nodes are in
    /// the launch is what comes next, and that is a command.
    fn awaits_others(&self, assignment: &Assignment) -> bool {
        let Engine::Launched { submission, .. } = &assignment.engine else { return false };
        let waits = !assignment.pods.well || self.complete.as_ref() == Some(submission);
        waits && self.absent.as_ref() == Some(submission)
    }

    /// For how long nothing has changed.
    fn waited(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.changed)
    }

    /// Whether its engine has answered its probe.
    fn has_passed(&self, assignment: &Assignment) -> bool {
        let Engine::Launched { submission, .. } = &assignment.engine else { return false };
        self.memory.has_passed(submission)
    }

    /// Where the group answers; `None` before its head has an address.
    async fn target(&mut self, assignment: Assignment) -> Option<Result<Target, String>> {
        let ip = assignment.pods.head_ip.as_deref()?;
        if self.head.as_deref() != Some(ip) {
            // Another pod: the Ray cluster may be another one of the same name, with another token.
            self.token.forget();
            self.watch.close();
            self.head = Some(ip.to_owned());
        }
        let port = match &assignment.engine {
            Engine::Launched { port, .. } => Some(*port),
            Engine::Own { port } => *port,
        };
        let token = match &assignment.pods.token_secret {
            None => None,
            Some(secret) => match self.token.get(&assignment.group.sibling(secret)).await {
                Ok(token) => Some(token),
                Err(cause) => return Some(Err(cause)),
            },
        };
        let dashboard = base_of(ip, assignment.pods.dashboard_port)?;
        let engine = port.and_then(|port| base_of(ip, port));
        let name = assignment.group.to_string();
        Some(Ok(Target { name, dashboard, engine, token, trusts_engine: true }))
    }

    /// Notes when all Ray nodes were in and when the engine became healthy, for the delays that are measured.
    fn measure(&mut self, assignment: &Assignment, alive: &RayReport) {
        let now = clock::monotonic();
        let Engine::Launched { submission, .. } = &assignment.engine else { return };
        let expected = &assignment.pods.ips;
        let all_in = !expected.is_empty() && expected.iter().all(|ip| alive.nodes.contains(ip));
        self.complete = all_in.then(|| submission.clone());
        self.launch_timer.nodes_joined(all_in, now);
        if alive.engine.healthy {
            self.opening.healthy(submission, assignment.pace == PollInterval::Starting, now);
        }
    }

    fn report(&mut self, assignment: &Assignment, state: Result<RayReport, String>) {
        let now = clock::monotonic();
        let reachability = self.shared.reachability.of(&assignment.group, now);
        self.reported = Some((now, reachability.clone()));
        let GroupReachability { no_sign, reach } = reachability;
        let observed = ObservedRay { at: clock::now(), state, unreachable_ips: no_sign, reach };
        self.shared.index.ray_seen(&self.fleet, &assignment.group, observed);
    }

    fn is_quiet(&self) -> bool {
        self.quiet_until.is_some_and(|until| clock::monotonic() < until)
    }
}

/// Time until the next look at a group that starts and about which nothing has changed for so long.
fn starting(waited: Duration, has_passed: bool) -> Duration {
    // One that has passed serves, but for its gate: it is asked no more often than one that does.
    if has_passed { (waited / PASSED_SHARE).clamp(STEADY, SLOW) } else { (waited / SHARE).clamp(QUICK, SLOW) }
}

#[cfg(test)]
mod tests;
