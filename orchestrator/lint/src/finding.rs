//! What was found in a manifest: data for all ways to show it. How it is shown is in [`crate::text`] and [`crate::sarif`].

use serde::Serialize;

use crate::place::Place;
use crate::plain::plain;
use crate::read::Object;
use crate::rule::Rule;
use crate::severity::Severity;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that found it.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// Number of its file among those that were read together, from 0 on.
    #[serde(skip)]
    pub file: usize,
    /// Number of its document, from 1 on.
    pub document: usize,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object; empty where the manifest gives none.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Path of the field; empty for all of the object.
    pub field: String,
    /// Where that is.
    #[serde(flatten)]
    pub place: Place,
    /// What is the case.
    pub what: String,
    /// What the reader can do.
    pub cure: String,
}

impl Finding {
    /// Why it bites.
    pub const fn why(&self) -> &'static str {
        self.rule.about().why
    }
}

/// What is found, as it is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    found: Vec<Finding>,
    /// Values that were visited to name what is wrong with others.
    visited: usize,
}

/// Most findings that are kept of one manifest: a hostile one may have millions. What is worse takes the place of what is less bad, so
/// that they hide nothing from the exit code.
const MOST: usize = 1_000;
/// Most bytes of a text of a finding: it may repeat what the manifest says.
const LONGEST: usize = 800;
/// Most values that are visited to name the field of an error. One wrong value of a usual pod template takes some ten thousand.
const MOST_VISITED: usize = 1_000_000;

impl Findings {
    /// Adds a finding at a field of an object.
    pub fn push(
        &mut self,
        rule: Rule,
        (object, field): (&Object, &str),
        what: impl AsRef<str>,
        cure: impl AsRef<str>,
    ) {
        // To look for a place takes time, and a hostile manifest would have it looked for a million times.
        if self.has_room(rule.about().severity) {
            self.push_at(rule, (object, field, object.place(field)), what.as_ref(), cure.as_ref());
        }
    }

    /// Adds a finding at a place that the field's path does not lead to.
    pub(crate) fn push_at(
        &mut self,
        rule: Rule,
        (object, field, place): (&Object, &str, Place),
        what: &str,
        cure: &str,
    ) {
        if !self.has_room(rule.about().severity) {
            return;
        }
        if self.found.len() >= MOST
            && let Some(least) =
                (0..self.found.len()).min_by_key(|at| self.found.get(*at).map(|it| it.severity))
        {
            self.found.swap_remove(least);
        }
        self.found.push(Finding {
            rule,
            severity: rule.about().severity,
            file: object.file,
            document: object.document,
            kind: shown(object.kind()),
            namespace: shown(object.namespace()),
            name: shown(object.name()),
            field: shown(field),
            place,
            what: shown(what),
            cure: shown(cure),
        });
    }

    /// Whether one more of this severity is kept. Where all are of the worst, the last one is, which need not be looked for.
    fn has_room(&self, severity: Severity) -> bool {
        self.found.len() < MOST || self.found.iter().any(|found| found.severity < severity)
    }

    /// Whether a field may be looked for over so many values, for a finding of a rule; they count.
    pub(crate) fn may_visit(&mut self, values: usize, rule: Rule) -> bool {
        let visited = self.visited.saturating_add(values);
        let may = visited <= MOST_VISITED && self.has_room(rule.about().severity);
        if may {
            self.visited = visited;
        }
        may
    }

    /// Takes over all of another.
    pub(crate) fn append(&mut self, other: Self) {
        let room = MOST.saturating_sub(self.found.len());
        self.found.extend(other.found.into_iter().take(room));
    }

    /// Whether something was found at a field of an object already.
    pub(crate) fn is_at(&self, object: &Object, field: &str) -> bool {
        let (place, field) = (object.place(field), shown(field));
        self.found
            .iter()
            .any(|found| found.file == object.file && found.field == field && found.place == place)
    }

    /// Whether a rule found something in an object already.
    pub(crate) fn has(&self, object: &Object, rule: Rule) -> bool {
        let is_it = |found: &Finding| (found.file, found.place) == (object.file, object.place(&found.field));
        let name = shown(object.name());
        self.found.iter().any(|found| found.rule == rule && found.name == name && is_it(found))
    }

    /// All findings by their places, none twice.
    pub(crate) fn sorted(mut self) -> Vec<Finding> {
        self.found.sort_by(|a, b| {
            let key = |of: &Finding| (of.file, of.document, of.place, of.rule, of.field.clone());
            key(a).cmp(&key(b))
        });
        // What an alias stands for is found once for every alias.
        self.found
            .dedup_by(|a, b| (a.file, a.rule, a.place) == (b.file, b.rule, b.place) && a.what == b.what);
        self.found
    }
}

/// A text of the manifest as findings have it.
fn shown(text: &str) -> String {
    plain(&rayfleet_text::cut(text, LONGEST))
}

/// The exit code of a lint: 1 if something is at least this bad, else 0. That a file cannot be read is another one's business (2).
pub fn exit_code(findings: &[Finding], fails_from: Severity) -> u8 {
    u8::from(findings.iter().any(|finding| finding.severity >= fails_from))
}
