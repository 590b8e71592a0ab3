//! The changes of the objects of one kind, in order: for watches, for lists of past versions, and for
//! people. The oldest are dropped, as a real server compacts its storage.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::Kind;

/// Type of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted.
    Deleted,
}

impl ChangeType {
    /// The type in a watch event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Resource version of the change.
    pub version: u64,
    /// Kind, as stored.
    pub kind: Kind,
    /// Type of the change.
    pub change: ChangeType,
    /// The object before, if it existed.
    pub before: Option<Arc<Value>>,
    /// The object after; for a deletion its last state, with the version of the deletion.
    pub object: Arc<Value>,
}

/// The requested changes were compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The oldest version that can be requested.
    pub(super) oldest: u64,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    changes: VecDeque<Arc<Change>>,
    compacted: u64,
}

impl Log {
    /// Number of changes of one kind that are kept without an explicit compaction.
    const KEEP: usize = 8192;

    pub(super) fn push(&mut self, change: Change) {
        self.changes.push_back(Arc::new(change));
        if self.changes.len() > 2 * Self::KEEP {
            self.compact(Self::KEEP);
        }
    }

    /// Drops all but the latest `keep` changes.
    pub(super) fn compact(&mut self, keep: usize) {
        while self.changes.len() > keep {
            if let Some(forgotten) = self.changes.pop_front() {
                self.compacted = forgotten.version;
            }
        }
    }

    /// The changes after a version.
    pub(super) fn after(
        &self,
        version: u64,
    ) -> Result<impl DoubleEndedIterator<Item = &Arc<Change>>, Compacted> {
        if version < self.compacted {
            return Err(Compacted { oldest: self.compacted });
        }
        let first = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.range(first..))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log() -> Log {
        let mut log = Log::default();
        for version in [3, 5, 8] {
            let object = Arc::new(json!({}));
            log.push(Change { version, kind: Kind::POD, change: ChangeType::Added, before: None, object });
        }
        log
    }

    fn versions(log: &Log, version: u64) -> Result<Vec<u64>, Compacted> {
        log.after(version).map(|changes| changes.map(|change| change.version).collect())
    }

    #[test]
    fn changes_after_a_version_come_in_order() {
        assert_eq!(versions(&log(), 0), Ok(vec![3, 5, 8]));
        assert_eq!(versions(&log(), 4), Ok(vec![5, 8]));
        assert_eq!(versions(&log(), 9), Ok(vec![]));
    }

    #[test]
    fn compacted_changes_are_reported_as_gone() {
        let mut log = log();
        log.compact(1);
        assert_eq!(versions(&log, 4), Err(Compacted { oldest: 5 }));
        assert_eq!(versions(&log, 5), Ok(vec![8]));
    }
}
