//! Where faults come in: what a call is, and what may be done to it, to its answer and to the events of a watch.

use std::time::Duration;

use serde_json::Value;

use super::Kind;

/// What a call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads objects.
    List,
    /// Follows objects.
    Watch,
    /// Makes an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes parts of an object.
    Patch,
    /// Ends an object.
    Delete,
    /// Ends objects.
    DeleteCollection,
}

impl Verb {
    /// Whether it changes anything.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// Number of the call at this server, from 1.
    pub number: u64,
    /// Who calls: the name that the client was made with.
    pub who: String,
    /// What is wanted.
    pub verb: Verb,
    /// Kind of the objects.
    pub kind: Kind,
    /// Namespace; empty for kinds without, and for calls over all of them.
    pub namespace: String,
    /// Name; empty for calls over several objects and for a create that leaves the name to the server.
    pub name: String,
    /// `status`, `scale`.
    pub subresource: Option<String>,
    /// What was sent: an object, a patch, delete options; null if nothing was.
    pub body: Value,
    /// Whether nothing is to be kept.
    pub dry_run: bool,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing out of the ordinary.
    Pass,
    /// Refused without being looked at.
    Refuse {
        /// HTTP status.
        code: u16,
        /// Reason of the Status.
        reason: &'static str,
    },
    /// Refused by what stands before the storage: a quota, a policy, a webhook.
    Deny {
        /// HTTP status.
        code: u16,
        /// Reason of the Status.
        reason: &'static str,
        /// What it says.
        words: &'static str,
    },
    /// The kind is not known, as while its CRD is being replaced.
    Unknown,
    /// Never arrives; the client waits for ever.
    LoseBefore,
    /// Is done, but the answer never arrives; the client waits for ever.
    LoseAfter,
}

/// What happens to an event of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventVerdict {
    /// Nothing out of the ordinary.
    Deliver,
    /// Comes later, and so does all that follows it in this watch.
    Delay(Duration),
    /// Comes twice.
    Twice,
    /// The connection ends before it. A watch from the version before gets it.
    Break,
    /// The connection ends before it, and a watch from the version before is answered with 410 Gone.
    Expire,
}

/// What happens to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListVerdict {
    /// The present state.
    Fresh,
    /// An older state, as from a watch cache that lags. A real server does this to lists of resource version 0 only.
    Stale {
        /// How many resource versions ago.
        behind: u64,
    },
}

/// Does things to the calls of one client.
pub trait Tamper: Send + Sync {
    /// Asked before a call is looked at.
    fn judge(&self, call: &Call) -> Verdict {
        let _ = call;
        Verdict::Pass
    }

    /// Told after a call was done, with the HTTP status of the answer.
    fn applied(&self, call: &Call, code: u16) {
        let _ = (call, code);
    }

    /// Asked before an event of the watch `call` about an object is sent. Of bookmarks it is not asked.
    fn event(&self, call: &Call, object: &Value) -> EventVerdict {
        let _ = (call, object);
        EventVerdict::Deliver
    }

    /// Asked before a list is made.
    fn list(&self, call: &Call) -> ListVerdict {
        let _ = call;
        ListVerdict::Fresh
    }
}

/// Leaves everything as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untampered;

impl Tamper for Untampered {}
