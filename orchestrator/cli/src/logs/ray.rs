//! Reads a log that Ray keeps, of an engine's job or of a rank: until it ends, or on through broken connections, as long as its
//! launch is the one that is wanted.
//!
//! These logs have no times of Kubernetes. After a break the last lines are asked for again, and what was printed is recognized in
//! them.

use std::sync::Arc;
use std::time::Duration;

use futures::AsyncBufRead;
use jiff::Timestamp;
use rayfleet_api::LaunchId;
use rayfleet_cli_kit::clean;
use rayfleet_cli_kit::ranges::ranges;

use super::context::{Closed, Context, Entry, Pause, SILENCE, Said};
use super::dashboard::{Dashboard, File, NoAnswer, Wanted};
use super::facts::World;
use super::job;
use super::line::{Lines, Overlap};
use super::source::{Label, Source};

/// Ray sends the existing log without a pause, and looks for more once a second.
const CAUGHT_UP: Duration = Duration::from_millis(500);
/// How often is looked whether the log is still wanted.
const LOOK: Duration = Duration::from_secs(5);
/// Lines that are asked for again after a break, and how many bytes of them are held at most.
const AGAIN: usize = 5_000;
const AGAIN_BYTES: usize = 8 << 20;

/// Which log of an engine.
#[derive(Clone, Debug)]
pub(super) enum Which {
    /// That of its job.
    Job,
    /// What a rank writes itself: its standard output, or its standard error.
    Rank { number: u32, error: bool },
}

/// One log, and where the reading of it is.
pub(super) struct Reading {
    pub(super) context: Context,
    pub(super) source: Source,
    pub(super) label: Arc<Label>,
    pub(super) group: String,
    pub(super) launch: LaunchId,
    pub(super) which: Which,
    /// It came up after the command had begun: all its lines are new.
    pub(super) fresh: bool,
}

impl Reading {
    /// Reads until there is no more to come.
    pub(super) async fn run(self) -> Result<(), Closed> {
        let follow = self.context.options.follow;
        let (mut overlap, mut pause, mut opened) = (Overlap::default(), Pause::new(), false);
        let mut reported = String::new();
        loop {
            if follow && !self.context.wants(&self.source) {
                return Ok(());
            }
            let again = opened.then_some(AGAIN as u64);
            match self.open(again).await {
                Ok((log, started)) => {
                    if !std::mem::replace(&mut opened, true) {
                        self.context.say(Said::Opened).await?;
                    }
                    reported.clear();
                    let came = self.pump(log, started, &mut overlap, again.is_some()).await?;
                    if came {
                        pause.reset();
                    }
                }
                Err(NoAnswer::Refused(fault)) => return self.context.say(Said::Refused(fault)).await,
                Err(NoAnswer::NotNow(why) | NoAnswer::Late(why)) => {
                    if why != reported {
                        let then = if follow { "; trying again" } else { "" };
                        self.context.note(format!("{}: {why}{then}", self.source.named())).await?;
                        reported = why;
                    }
                }
            }
            if !follow {
                return Ok(());
            }
            // A change of the fleet is no reason to ask before the pause is over.
            tokio::time::sleep(pause.next()).await;
        }
    }

    async fn open(
        &self,
        again: Option<u64>,
    ) -> Result<(impl AsyncBufRead + Unpin + use<>, Option<Timestamp>), NoAnswer> {
        let world = self.context.now();
        let no_head = || NoAnswer::NotNow("its head has no address yet".to_owned());
        let (pod, head) =
            world.head(&self.group).filter(|(_, head)| !head.ip.is_empty()).ok_or_else(no_head)?;
        let dashboard = Dashboard { fleets: &self.context.fleets, pod, head };
        let file = match self.which {
            Which::Job => File::Job(self.launch.clone()),
            Which::Rank { number, error } => {
                let shape = world.groups.get(&self.group).and_then(|group| group.shape);
                let ranks = dashboard.ranks(shape).await?;
                let rank = ranks.into_iter().find(|rank| rank.number == number);
                let none = || {
                    NoAnswer::NotNow(
                        "Ray lists no such rank; before an engine's ranks are placed there are none"
                            .to_owned(),
                    )
                };
                File::Actor { id: rank.ok_or_else(none)?.actor, error }
            }
        };
        let options = self.context.options;
        // A filter by time or by writer comes after what Ray can do.
        let lines =
            if options.since.is_some() || options.launcher || self.fresh { None } else { options.lines };
        dashboard.log(&file, Wanted { follow: options.follow, lines: again.or(lines) }).await
    }

    /// Passes the lines of a stream on that are new; whether any was.
    async fn pump(
        &self,
        log: impl AsyncBufRead + Unpin,
        started: Option<Timestamp>,
        overlap: &mut Overlap,
        again: bool,
    ) -> Result<bool, Closed> {
        let mut lines = Lines::new(log);
        let (mut repeats, mut held) = (again.then(Vec::new), 0_usize);
        let mut passing =
            Passing { reading: self, launch: started, time: started, came: false, last: Vec::new() };
        let mut silent = Duration::ZERO;
        loop {
            let patience = if repeats.is_some() { CAUGHT_UP } else { LOOK };
            match tokio::time::timeout(patience, lines.next()).await {
                // What a broken stream had begun comes again, whole.
                Ok(Ok(Some(line))) if !line.whole && self.context.options.follow => break,
                Ok(Ok(Some(line))) => {
                    silent = Duration::ZERO;
                    match &mut repeats {
                        Some(repeats) if repeats.len() < AGAIN && held < AGAIN_BYTES => {
                            held += line.text.len();
                            repeats.push(line.text);
                        }
                        _ => {
                            self.caught_up(&mut repeats, overlap, &mut passing).await?;
                            overlap.printed(&line.text);
                            passing.line(&line.text).await?;
                        }
                    }
                }
                Ok(Ok(None) | Err(_)) => break,
                Err(_) if repeats.is_some() => self.caught_up(&mut repeats, overlap, &mut passing).await?,
                Err(_) => {
                    silent += LOOK;
                    if silent >= SILENCE || (self.context.options.follow && !self.context.wants(&self.source))
                    {
                        break;
                    }
                }
            }
        }
        self.caught_up(&mut repeats, overlap, &mut passing).await?;
        passing.end().await
    }

    /// All that was there has come again: passes on what had not been printed.
    async fn caught_up(
        &self,
        repeats: &mut Option<Vec<String>>,
        overlap: &mut Overlap,
        passing: &mut Passing<'_>,
    ) -> Result<(), Closed> {
        let Some(lines) = repeats.take() else { return Ok(()) };
        let known = overlap.known(&lines);
        if known.is_none() && !lines.is_empty() {
            self.context.note(format!("{}: lines may be missing here", self.source.named())).await?;
        }
        for line in lines.iter().skip(known.unwrap_or_default()) {
            overlap.printed(line);
            passing.line(line).await?;
        }
        Ok(())
    }
}

/// Lines on their way: which of them are wanted, and whose they are.
struct Passing<'a> {
    reading: &'a Reading,
    /// When the launcher began, as Ray says, or it does.
    launch: Option<Timestamp>,
    /// Time of the last line that had one.
    time: Option<Timestamp>,
    came: bool,
    /// Where only the last lines are wanted, and Ray was asked for more: the last ones so far.
    last: Vec<Entry>,
}

impl Passing<'_> {
    async fn line(&mut self, line: &str) -> Result<(), Closed> {
        let Reading { context, which, .. } = self.reading;
        let began = context.began;
        let plain = clean::line(line);
        self.launch = job::launch(&plain).or(self.launch);
        let time = job::time(&plain, began).or_else(|| job::phase(&plain, self.launch?));
        self.time = time.or(self.time);
        self.came = true;
        let job = matches!(which, Which::Job);
        let unwanted = match which {
            Which::Job => context.options.launcher && job::writer(&plain).is_some(),
            Which::Rank { .. } => job::is_mark(&plain),
        };
        let early = !self.reading.fresh
            && context.options.since.is_some_and(|since| {
                let from = began.checked_sub(since).unwrap_or(Timestamp::MIN);
                self.time.is_none_or(|time| time < from)
            });
        if unwanted || early {
            return Ok(());
        }
        let label = if job { self.label(&plain) } else { self.reading.label.clone() };
        let entry = Entry { label, time: self.time, text: line.to_owned() };
        if !context.options.follow && context.options.lines.is_some() {
            // Bounded by what was asked for.
            let most = usize::try_from(context.options.lines.unwrap_or_default()).unwrap_or(usize::MAX);
            self.last.push(entry);
            if self.last.len() > most.saturating_mul(2).max(most) {
                self.last.drain(..self.last.len() - most);
            }
            return Ok(());
        }
        context.say(Said::Line(entry)).await
    }

    /// What was held back; whether any line came.
    async fn end(self) -> Result<bool, Closed> {
        let context = &self.reading.context;
        let most = context.options.lines.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(usize::MAX);
        let skip = self.last.len().saturating_sub(most);
        for entry in self.last.into_iter().skip(skip) {
            context.say(Said::Line(entry)).await?;
        }
        Ok(self.came)
    }

    /// Whose line of a job's log it is: Ray names the process and, of another node, the address.
    fn label(&self, line: &str) -> Arc<Label> {
        let Some(ip) = job::writer(line).and_then(|writer| writer.ip) else {
            return self.reading.label.clone();
        };
        let world = self.reading.context.now();
        place(&world, &self.reading.group, ip).map_or_else(
            || self.reading.label.clone(),
            |(who, rank)| Arc::new(Label { who, rank, ..Label::clone(&self.reading.label) }),
        )
    }
}

/// The pod of an address, as part of a label, and the rank in it if it is the only one.
fn place(world: &World, group: &str, ip: &str) -> Option<(String, Option<u32>)> {
    let (name, pod) = world.pods.iter().find(|(_, pod)| pod.group == group && pod.ip == ip)?;
    let ranks = world.ranks_of(pod);
    let only = ranks.filter(|ranks| ranks.len() == 1).and_then(|ranks| ranks.first().copied());
    let end = name.rsplit_once('-').map_or(name.as_str(), |(_, end)| end);
    let who = match (only, ranks) {
        (Some(rank), _) => format!("rank {rank}"),
        (None, Some(ranks)) => format!("ranks {}", ranges(ranks.iter().copied())),
        (None, None) if pod.head => "head".to_owned(),
        (None, None) => format!("worker-{end}"),
    };
    Some((who, only))
}
