//! Fault injection points: what a call is, and what may be done to it, to its answer and to the events of a
//! watch.

use std::time::Duration;

use serde_json::Value;

use super::Kind;

/// The verb of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads objects.
    List,
    /// Follows objects.
    Watch,
    /// Creates an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes parts of an object.
    Patch,
    /// Deletes an object.
    Delete,
    /// Deletes objects.
    DeleteCollection,
}

impl Verb {
    /// Whether it changes anything.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// A request of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// Number of the call at this server, from 1.
    pub number: u64,
    /// Name of the calling client, as it was created.
    pub who: String,
    /// The verb.
    pub verb: Verb,
    /// Kind of the objects.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds and for calls over all namespaces.
    pub namespace: String,
    /// Name; empty for calls over several objects and for creates with `generateName`.
    pub name: String,
    /// `status` or `scale`.
    pub subresource: Option<String>,
    /// The body: an object, a patch, delete options; null if there was none.
    pub body: Value,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is executed normally.
    Pass,
    /// Refused without being executed.
    Refuse {
        /// HTTP status.
        code: u16,
        /// Reason of the Status.
        reason: &'static str,
    },
    /// Refused by admission: a quota, a policy, a webhook.
    Deny {
        /// HTTP status.
        code: u16,
        /// Reason of the Status.
        reason: &'static str,
        /// Its message.
        words: &'static str,
    },
    /// The kind is unknown, as while its CRD is being replaced.
    Unknown,
    /// The request is lost; the client waits forever.
    LoseBefore,
    /// The request is executed and the answer is lost; the client waits forever.
    LoseAfter,
}

/// What happens to an event of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventVerdict {
    /// It is delivered normally.
    Deliver,
    /// It is delayed, with all events after it in this watch.
    Delay(Duration),
    /// It is delivered twice.
    Twice,
    /// The connection ends before it. A watch from the version before it delivers it.
    Break,
    /// The connection ends before it, and a watch from the version before it is answered with 410 Gone.
    Expire,
}

/// What happens to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListVerdict {
    /// The present state.
    Fresh,
    /// An older state, as from a lagging watch cache. A real server does this only for lists with resource
    /// version 0.
    Stale {
        /// Number of resource versions that it lags behind.
        behind: u64,
    },
}

/// Injects faults into the calls of one client.
pub trait Interceptor: Send + Sync {
    /// Called before a call is executed.
    fn judge(&self, call: &Call) -> Verdict {
        let _ = call;
        Verdict::Pass
    }

    /// Called after a call was executed, with the HTTP status of the answer.
    fn applied(&self, call: &Call, code: u16) {
        let _ = (call, code);
    }

    /// Called before an event about an object is sent in the watch `call`; not for bookmarks.
    fn event(&self, call: &Call, object: &Value) -> EventVerdict {
        let _ = (call, object);
        EventVerdict::Deliver
    }

    /// Called before a list is made.
    fn list(&self, call: &Call) -> ListVerdict {
        let _ = call;
        ListVerdict::Fresh
    }
}

/// Injects no faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passthrough;

impl Interceptor for Passthrough {}

impl<F: Fn(&Call) -> Verdict + Send + Sync> Interceptor for F {
    fn judge(&self, call: &Call) -> Verdict {
        self(call)
    }
}
