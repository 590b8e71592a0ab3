//! What happens to one object: findings, and lines for the head of its document.

use crate::finding::Findings;
use crate::plain::plain;
use crate::read::Object;
use crate::rule::Rule;

/// What happens to one object.
pub(super) struct Log<'l> {
    pub(super) object: &'l Object,
    pub(super) findings: &'l mut Findings,
    pub(super) changes: Vec<String>,
}

impl Log<'_> {
    pub(super) fn changed(&mut self, field: &str, what: &str, cure: &str) {
        self.add(Rule::Changed, field, what, cure);
    }

    pub(super) fn dropped(&mut self, field: &str, what: &str, cure: &str) {
        self.add(Rule::Dropped, field, what, cure);
    }

    pub(super) fn check(&mut self, field: &str, what: &str, cure: &str) {
        self.add(Rule::Check, field, what, cure);
    }

    pub(super) fn add(&mut self, rule: Rule, field: &str, what: &str, cure: &str) {
        self.findings.push(rule, (self.object, field), what, cure);
        let kept = [Rule::Changed, Rule::Dropped, Rule::Check].contains(&rule);
        if kept {
            self.changes.push(plain(&format!("{what}: {cure}")));
        }
    }
}
