//! What a diff compares: the content of two revisions, each with its name. Pure.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use rayfleet_api::revision::Revision as Hash;
use rayfleet_cli_kit::CliError;
use serde_json::{Value, json};

use crate::render::history;
use crate::revisions::{self, Revision};
use crate::view::Fleet;

/// One side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Side {
    /// Its name, with its hash.
    pub(super) label: String,
    /// `template` and `model`, as written by the user.
    pub(super) content: Value,
    pub(super) hash: Hash,
}

impl Side {
    /// What the spec asks for.
    pub(super) fn spec(fleet: &DynamicObject) -> Result<Self, CliError> {
        let (hash, spec) = (revisions::current(fleet)?, &fleet.data["spec"]);
        let mut content = json!({"template": spec["template"]});
        if !spec["model"].is_null() {
            content["model"] = spec["model"].clone();
        }
        Ok(Self { label: format!("spec ({hash})"), content, hash })
    }

    /// A stored revision.
    pub(super) fn stored(revision: &Revision, note: &str) -> Result<Self, CliError> {
        let hash = revision.hash()?;
        let label = format!("revision {} ({hash}){note}", revision.number);
        Ok(Self { label, content: history::content(revision), hash })
    }
}

/// A revision that groups run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) hash: Hash,
    pub(super) groups: usize,
}

/// The revisions that groups run, the one to compare from first: not the wanted one, and of those the one of most groups.
pub(super) fn running(fleet: &Fleet, wanted: &Hash) -> Vec<Running> {
    let mut counts: BTreeMap<&Hash, usize> = BTreeMap::new();
    for group in &fleet.groups {
        *counts.entry(&group.revision).or_default() += 1;
    }
    let mut all: Vec<Running> =
        counts.into_iter().map(|(hash, groups)| Running { hash: hash.clone(), groups }).collect();
    all.sort_by_key(|running| (running.hash == *wanted, std::cmp::Reverse(running.groups)));
    all
}

/// The newest record of a hash. Two may differ in what a hash leaves out.
pub(super) fn record<'r>(revisions: &'r [Revision], hash: &Hash) -> Option<&'r Revision> {
    revisions.iter().rev().find(|revision| revision.hash().is_ok_and(|of| of == *hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn what_the_spec_does_not_ask_for_is_compared_from() {
        let fleet = sample::upgrading_fleet();
        let hashes = |wanted: &str| -> Vec<String> {
            running(&fleet, &wanted.into()).iter().map(|running| running.hash.to_string()).collect()
        };
        assert_eq!(hashes("bcdfgh/zxwvtr"), ["bcdfgh/kmnpqr", "bcdfgh/zxwvtr"]);
        assert_eq!(hashes("bcdfgh/kmnpqr"), ["bcdfgh/zxwvtr", "bcdfgh/kmnpqr"]);
        assert_eq!(running(&Fleet::default(), &"a/b".into()), []);
    }

    #[test]
    fn of_several_the_one_of_most_groups_is_compared_from() {
        let mut fleet = sample::upgrading_fleet();
        let third = crate::view::Group { revision: "zzzzzz/kmnpqr".into(), ..fleet.groups[0].clone() };
        fleet.groups.extend([third.clone(), third]);
        let first = &running(&fleet, &"bcdfgh/zxwvtr".into())[0];
        assert_eq!((first.hash.to_string().as_str(), first.groups), ("zzzzzz/kmnpqr", 2));
    }
}
