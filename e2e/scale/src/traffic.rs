//! Calls to dashboards and engines, counted by what they ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::counted::Bytes;

/// Counts of all calls.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes: Arc<Bytes>,
    table: Mutex<Table>,
}

#[derive(Debug, Default, Clone)]
struct Table {
    connections: u64,
    calls: BTreeMap<String, u64>,
}

/// What was counted, since the start or within a time.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Calls {
    /// By `METHOD PATH`, with names of jobs and packages taken out of the path.
    pub(crate) by_kind: BTreeMap<String, u64>,
    pub(crate) connections: u64,
    /// Bytes from the controller, with the heads of the messages.
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Traffic {
    pub(crate) fn connected(&self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
    }

    pub(crate) fn called(&self, method: &str, path: &str) {
        let kind = format!("{method} {}", nameless(path));
        *self.table.lock().unwrap_or_else(PoisonError::into_inner).calls.entry(kind).or_default() += 1;
    }

    /// Since the start.
    pub(crate) fn now(&self) -> Calls {
        let Table { connections, calls } = self.table.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (received, sent) = self.bytes.now();
        Calls { by_kind: calls, connections, received, sent }
    }
}

impl Calls {
    /// What came since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let rise = |(kind, now): (&String, &u64)| {
            (kind.clone(), now - before.by_kind.get(kind).copied().unwrap_or_default())
        };
        Self {
            by_kind: self.by_kind.iter().map(rise).filter(|(_, calls)| *calls > 0).collect(),
            connections: self.connections - before.connections,
            received: self.received - before.received,
            sent: self.sent - before.sent,
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

/// A path without the names of jobs and packages.
fn nameless(path: &str) -> String {
    for prefix in ["/api/jobs/", "/api/packages/gcs/"] {
        if let Some(rest) = path.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            let part = rest.split_once('/').map_or_else(String::new, |(_, part)| format!("/{part}"));
            return format!("{prefix}NAME{part}");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_to_one_path_are_one_kind_whatever_job_they_name() {
        assert_eq!(nameless("/api/jobs/"), "/api/jobs/");
        assert_eq!(nameless("/api/jobs/f-1"), "/api/jobs/NAME");
        assert_eq!(nameless("/api/jobs/f-1/logs"), "/api/jobs/NAME/logs");
        assert_eq!(nameless("/api/v0/nodes"), "/api/v0/nodes");
    }

    #[test]
    fn only_what_came_since_is_counted() {
        let traffic = Traffic::default();
        traffic.called("GET", "/health");
        let before = traffic.now();
        traffic.connected();
        traffic.called("GET", "/health");
        traffic.called("GET", "/metrics");
        let since = traffic.now().since(&before);
        assert_eq!((since.total(), since.connections), (2, 1));
        assert_eq!(since.by_kind["GET /health"], 1);
        assert!(traffic.now().since(&traffic.now()).by_kind.is_empty());
    }
}
