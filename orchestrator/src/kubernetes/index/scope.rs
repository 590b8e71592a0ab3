//! Which parts of the cluster are listed, and what came of it. Where only some namespaces are looked after, everything about fleets comes
//! from them; nodes and the pods of all other namespaces are looked at for capacity alone, and may be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rayfleet_runtime::{Namespaces, Scope};

use super::{Kind, LONG, OFTEN};

/// What is listed, what was listed once, and what is refused.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Empty: all.
    namespaces: BTreeSet<String>,
    listed: BTreeSet<(Kind, Scope)>,
    /// Since when, and how often in a row.
    refused: BTreeMap<(Kind, Scope), (Instant, u32)>,
}

impl Lists {
    pub(super) fn of(namespaces: &Namespaces) -> Self {
        Self { namespaces: namespaces.named().map(str::to_owned).collect(), ..Self::default() }
    }

    /// What is to be listed of a kind.
    pub(super) fn scopes(&self, kind: Kind) -> Vec<Scope> {
        if self.namespaces.is_empty() || kind == Kind::Node {
            return vec![Scope::All];
        }
        let named = self.namespaces.iter().cloned().map(Scope::In);
        let others = (kind == Kind::Pod).then(|| Scope::Outside(self.namespaces.clone()));
        named.chain(others).collect()
    }

    /// Whether a kind was listed as far as it concerns a namespace, or what is not is for capacity alone, and refused.
    pub(super) fn has(&self, kind: Kind, namespace: &str) -> bool {
        let concerns = |scope: &Scope| !matches!(scope, Scope::In(other) if other != namespace);
        let is_for_room = |scope: &Scope| !self.namespaces.is_empty() && !matches!(scope, Scope::In(_));
        self.scopes(kind).into_iter().filter(concerns).all(|scope| {
            let for_room = is_for_room(&scope);
            let part = (kind, scope);
            self.listed.contains(&part) || (for_room && self.counts(&part))
        })
    }

    /// Whether every list of a kind has arrived or is refused.
    pub(super) fn settled(&self, kind: Kind) -> bool {
        let mut parts = self.scopes(kind).into_iter().map(|scope| (kind, scope));
        parts.all(|part| self.listed.contains(&part) || self.counts(&part))
    }

    /// Whether nothing is refused that capacity is reckoned from.
    pub(super) fn knows_room(&self) -> bool {
        let kinds = [Kind::Node, Kind::Pod].into_iter();
        let mut parts = kinds.flat_map(|kind| self.scopes(kind).into_iter().map(move |scope| (kind, scope)));
        !parts.any(|part| self.counts(&part))
    }

    fn counts(&self, part: &(Kind, Scope)) -> bool {
        self.refused.get(part).is_some_and(|(_, times)| *times == u32::MAX)
    }

    /// A list has arrived; whether it is the first one, or the first one after it was refused.
    pub(super) fn listed(&mut self, kind: Kind, scope: &Scope) -> bool {
        let part = (kind, scope.clone());
        let was_refused = self.counts(&part);
        self.refused.remove(&part);
        self.listed.insert(part) || was_refused
    }

    /// A list or a watch was refused; whether that counts since this time.
    pub(super) fn refused(&mut self, kind: Kind, scope: &Scope, now: Instant) -> bool {
        if self.namespaces.is_empty() {
            return false;
        }
        let (since, times) = self.refused.entry((kind, scope.clone())).or_insert((now, 0));
        if *times == u32::MAX {
            return false;
        }
        *times = times.saturating_add(1);
        let counts = *times >= OFTEN && now.saturating_duration_since(*since) >= LONG;
        if counts {
            *times = u32::MAX;
        }
        counts
    }
}
