//! An API server in memory. It implements the generic behaviour of a real API server; what the objects mean
//! to controllers does not belong here.
//!
//! [`ApiServer`] is synchronous inside: one lock around `store`, never held across an await. `http` maps
//! `kube`'s requests to it, `watch` has the event streams, `intercept` the fault injection points.

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
pub use intercept::{Call, EventVerdict, Interceptor, ListVerdict, Passthrough, Verb, Verdict};
pub use kind::Kind;
pub use log::{Change, ChangeType};
pub use server::{ApiServer, Write};
