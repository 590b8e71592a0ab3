//! Differences in the order of phases and steps between a simulated and a real run. Pure functions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::align::{Lasted, unmatched};
use super::history::{Entered, History, Life};

/// Up to this many groups of one revision, every pairing is tried.
const TRIED: usize = 6;

/// Differences, for people; empty if all came in the same order.
pub fn another_order(simulated: &History, real: &History) -> Vec<String> {
    let mut found = Vec::new();
    let steps = |history: &History| lasted(&history.steps, history.until, Clone::clone);
    let (ours, theirs) = (steps(simulated), steps(real));
    found.extend(reported("steps of the rollout", &ours, &theirs));

    let mut revisions: Vec<&str> = Vec::new();
    for life in simulated.lives.iter().chain(&real.lives) {
        if !revisions.contains(&life.revision.as_str()) {
            revisions.push(&life.revision);
        }
    }
    for revision in revisions {
        let of = |history: &History| -> Vec<Track> {
            let lives = history.lives.iter().filter(|life| life.revision == revision);
            lives.map(|life| Track::of(life, history.until)).collect()
        };
        found.extend(of_revision(revision, &of(simulated), &of(real)));
    }
    found
}

/// The phases of one group.
struct Track {
    name: String,
    slot: u32,
    phases: Vec<Lasted>,
}

impl Track {
    fn of(life: &Life, until: Duration) -> Self {
        let mut phases = lasted(&life.phases, life.gone.unwrap_or(until), |phase| phase.as_str().to_owned());
        if life.gone.is_some() {
            phases.push(Lasted { what: "gone".to_owned(), length: Duration::MAX });
        }
        Self { name: life.name.clone(), slot: life.slot, phases }
    }

    /// Distance between two groups; among equal ones, the same slot is preferred.
    fn unlike(&self, other: &Self) -> usize {
        let (one, two) = unmatched(&self.phases, &other.phases);
        (one.len() + two.len()) * 10 + usize::from(self.slot != other.slot)
    }
}

fn of_revision(revision: &str, simulated: &[Track], real: &[Track]) -> Vec<String> {
    let pairs = paired(simulated, real);
    let mut found = Vec::new();
    for (at, track) in simulated.iter().enumerate() {
        match pairs.get(&at).and_then(|other| real.get(*other)) {
            Some(other) => {
                let name = format!("phases of group {} (real: {})", track.name, other.name);
                found.extend(reported(&name, &track.phases, &other.phases));
            }
            None => found.push(format!(
                "group {} of revision {revision} was created only in the simulation: {}",
                track.name,
                words(&track.phases, &[])
            )),
        }
    }
    for (at, track) in real.iter().enumerate() {
        if !pairs.values().any(|other| *other == at) {
            found.push(format!(
                "group {} of revision {revision} was created only by the real cluster: {}",
                track.name,
                words(&track.phases, &[])
            ));
        }
    }
    found
}

/// Maps each simulated group to the real one that it is compared with.
fn paired(simulated: &[Track], real: &[Track]) -> BTreeMap<usize, usize> {
    let costs: Vec<Vec<usize>> =
        simulated.iter().map(|one| real.iter().map(|other| one.unlike(other)).collect()).collect();
    let mut best: (usize, BTreeMap<usize, usize>) = (usize::MAX, BTreeMap::new());
    if simulated.len().max(real.len()) <= TRIED {
        all_ways(&costs, real.len(), 0, (0, BTreeMap::new()), &mut best);
        return best.1;
    }
    for (at, row) in costs.iter().enumerate() {
        let free = row.iter().enumerate().filter(|(other, _)| !best.1.values().any(|taken| taken == other));
        if let Some((other, _)) = free.min_by_key(|(_, cost)| **cost) {
            best.1.insert(at, other);
        }
    }
    best.1
}

/// Cost of a group without a partner: more than any difference.
const ALONE: usize = 100_000;

fn all_ways(
    costs: &[Vec<usize>],
    real: usize,
    at: usize,
    so_far: (usize, BTreeMap<usize, usize>),
    best: &mut (usize, BTreeMap<usize, usize>),
) {
    let Some(row) = costs.get(at) else {
        if so_far.0 < best.0 {
            *best = so_far;
        }
        return;
    };
    for (other, cost) in row.iter().enumerate() {
        if !so_far.1.values().any(|taken| *taken == other) {
            let mut next = so_far.clone();
            next.0 += cost;
            next.1.insert(at, other);
            all_ways(costs, real, at + 1, next, best);
        }
    }
    if costs.len() > real {
        all_ways(costs, real, at + 1, (so_far.0 + ALONE, so_far.1), best);
    }
}

fn lasted<T>(list: &[Entered<T>], end: Duration, name: impl Fn(&T) -> String) -> Vec<Lasted> {
    let lengths = History::lasted(list, end);
    list.iter().zip(lengths).map(|(entered, length)| Lasted { what: name(&entered.what), length }).collect()
}

fn reported(name: &str, simulated: &[Lasted], real: &[Lasted]) -> Option<String> {
    let (ours, theirs) = unmatched(simulated, real);
    if ours.is_empty() && theirs.is_empty() {
        return None;
    }
    Some(format!(
        "{name} (entries without a counterpart are in [brackets]):\n    simulated: {}\n    real:      {}",
        words(simulated, &ours),
        words(real, &theirs)
    ))
}

fn words(list: &[Lasted], marked: &[usize]) -> String {
    let mut text = String::new();
    for (at, Lasted { what, length }) in list.iter().enumerate() {
        let arrow = if at == 0 { "" } else { " -> " };
        let time =
            if *length == Duration::MAX { String::new() } else { format!(" {:.1}s", length.as_secs_f64()) };
        let (open, close) = if marked.contains(&at) { ("[", "]") } else { ("", "") };
        // Writing to a String cannot fail.
        let _ = write!(text, "{arrow}{open}{what}{time}{close}");
    }
    text
}

#[cfg(test)]
mod tests {
    use rayfleet_api::status::Phase::{self, *};

    use super::*;

    fn life(name: &str, slot: u32, phases: &[(Phase, u64)], gone: Option<u64>) -> Life {
        let phases = phases.iter().map(|(what, at)| Entered { what: *what, at: Duration::from_secs(*at) });
        Life {
            name: name.to_owned(),
            slot,
            revision: "a/b".into(),
            phases: phases.collect(),
            gone: gone.map(Duration::from_secs),
        }
    }

    fn history(lives: Vec<Life>, steps: &[(&str, u64)]) -> History {
        let steps =
            steps.iter().map(|(what, at)| Entered { what: (*what).to_owned(), at: Duration::from_secs(*at) });
        History { lives, steps: steps.collect(), until: Duration::from_secs(200) }
    }

    #[test]
    fn swapped_slots_and_other_times_are_no_difference() {
        let (stays, goes) = ([(Pending, 0), (Ready, 20)], [(Pending, 0), (Ready, 20), (Draining, 60)]);
        let simulated =
            history(vec![life("f-0", 0, &stays, None), life("f-1", 1, &goes, Some(70))], &[("Complete", 20)]);
        let later = [(Pending, 0), (Provisioning, 1), (Ready, 90), (Draining, 150)];
        let real = history(
            vec![life("f-0", 0, &later, Some(180)), life("f-1", 1, &[(Pending, 3), (Ready, 80)], None)],
            &[("Complete", 90)],
        );
        let found = another_order(&simulated, &real);
        assert_eq!(found.len(), 1, "{found:#?}");
        // Provisioning lasted a minute and a half in the real run, and is missing in the simulated one.
        assert!(
            found[0].contains("f-1 (real: f-0)") && found[0].contains("[Provisioning 89.0s]"),
            "{found:#?}"
        );
    }

    #[test]
    fn an_extra_group_or_step_is_reported() {
        let one = || life("f-0", 0, &[(Pending, 0), (Ready, 20)], None);
        let two = life("f-1", 1, &[(Pending, 0), (Ready, 20)], None);
        let simulated = history(vec![one()], &[("Starting groups", 0), ("Complete", 20)]);
        let real = history(vec![one(), two], &[("Complete", 20)]);
        let found = another_order(&simulated, &real);
        assert!(found[0].contains("simulated: [Starting groups 20.0s] -> Complete"), "{found:#?}");
        assert!(found[1].contains("f-1 of revision a/b was created only by the real cluster"), "{found:#?}");
        assert_eq!(another_order(&real, &simulated).len(), 2);
        assert!(another_order(&real, &real).is_empty());
    }
}
