//! An API server in memory. It knows objects and what a real API server does with them, and nothing of what they mean.
//!
//! [`ApiServer`] is synchronous inside: one lock around `store`, never held over an await. `http` puts requests as
//! `kube` sends them on top of it, `watch` the streams, `tamper` the faults.

mod admit;
mod clock;
mod convert;
mod defaults;
mod delete;
mod error;
mod fields;
mod foreign;
mod gc;
mod http;
mod intercept;
mod kind;
mod list;
mod log;
mod meta;
mod names;
mod page;
mod patch;
mod retry;
mod route;
mod rules;
mod scale;
mod schema;
mod selector;
mod server;
mod store;
mod strategic;
mod watch;
mod write;

pub use error::Refusal;
pub use intercept::{Call, EventVerdict, ListVerdict, Tamper, Untampered, Verb, Verdict};
pub use kind::Kind;
pub use log::{Change, ChangeType};
pub use server::{ApiServer, Write};
