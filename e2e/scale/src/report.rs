//! What was measured, as a table for people; its fields are the JSON.

use std::fmt;

use serde::Serialize;

use crate::churn::Churn;
use crate::groups::Upgraded;
use crate::loss::Loss;
use crate::numbers::Spread;
use crate::phase::{Phase, row, spread};
use crate::progress::Times;
use crate::room::NoRoom;
use crate::start::Start;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) fleets: u16,
    /// Of each fleet.
    pub(crate) groups: u16,
    pub(crate) start: Start,
    /// `None` if no fleet was ready.
    pub(crate) times: Option<Times>,
    /// Seconds from a group's first pod until all were Ready.
    pub(crate) group_start: Option<Spread>,
    /// From the first creation until some seconds after the last fleet was ready.
    pub(crate) bring_up: Phase,
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) churn: Option<Churn>,
    pub(crate) loss: Option<Loss>,
    /// Nothing was changed.
    pub(crate) rest: Option<Phase>,
    /// Read after that.
    pub(crate) no_room: Option<NoRoom>,
}

/// One fleet was given a new template.
#[derive(Debug, Serialize)]
pub(crate) struct Upgrade {
    /// `maxSurge/maxUnavailable`.
    pub(crate) rollout: String,
    /// How often as many groups as both are together have to start, one time after the other.
    pub(crate) waves: u32,
    /// Seconds of the waves, each as long as [`IDEAL`].
    pub(crate) ideal: f64,
    #[serde(flatten)]
    pub(crate) observed: Upgraded,
    /// From the change of the template until some seconds after the upgrade was done.
    pub(crate) work: Phase,
}

const IDEAL: &str = "the median start of a group in the bring-up";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bring_up, .. } = self;
        let number = f64::from(self.fleets) * f64::from(self.groups);
        let unit = if self.groups == 1 { "a fleet" } else { "a group" };
        write!(f, "{}", self.start)?;
        if self.groups == 1 {
            writeln!(f, "\nBRING-UP of {} fleets of one group", self.fleets)?;
        } else {
            writeln!(f, "\nBRING-UP of {} fleet of {} groups", self.fleets, self.groups)?;
        }
        if let Some(times) = &self.times {
            let Times { by_pods, by_status, .. } = times;
            row(f, "ready by pods / by status", format_args!("{by_pods:.1} / {by_status:.1} s"))?;
            spread(f, "a fleet, from its creation", times.fleet)?;
            spread(f, "a group, from its first pod", self.group_start)?;
            spread(f, "status behind pods", times.status_behind_pods)?;
        }
        bring_up.work(f, number, unit)?;
        if let Some(upgrade) = &self.upgrade {
            upgrade.show(f, number)?;
        }
        if let Some(churn) = &self.churn {
            write!(f, "{churn}")?;
        }
        if let Some(loss) = &self.loss {
            write!(f, "{loss}")?;
        }
        if let Some(rest) = &self.rest {
            rest.rest(f, number, unit)?;
        }
        match &self.no_room {
            Some(no_room) => write!(f, "{no_room}"),
            None => Ok(()),
        }
    }
}

impl Upgrade {
    fn show(&self, f: &mut fmt::Formatter<'_>, groups: f64) -> fmt::Result {
        let Self { rollout, waves, ideal, observed, work } = self;
        writeln!(f, "\nUPGRADE of {groups} groups with maxSurge/maxUnavailable {rollout}")?;
        row(f, "makespan", format_args!("{:.1} s", observed.makespan))?;
        let each = ideal / f64::from(*waves);
        row(f, "ideal", format_args!("{ideal:.1} s: {waves} waves of {each:.2} s, {IDEAL}"))?;
        spread(f, "a new group, from its first pod", observed.group_start)?;
        spread(f, "an old group, from not ready", observed.group_end)?;
        row(f, "lowest number of ready groups", observed.lowest_ready)?;
        row(f, "most existing groups", observed.most_existing)?;
        work.work(f, groups, "a group")
    }
}
