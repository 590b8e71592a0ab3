//! What any controller of Rayfleet stands on, and nothing of what one controller is for: a keyed [`queue`] and the loop around a
//! [`Reconciler`], [`watch`]es, the [`lease`] and the fence that it is to the [`writer`], events, the HTTP port ([`serve`]), the [`clock`], start and end of a [`program`]. It knows neither fleets nor Ray; a controller brings its objects, where it keeps them, and what it does about a key.

mod backoff;
pub mod clock;
pub mod controller;
mod event_queue;
mod events;
mod key;
pub mod lease;
mod metrics;
mod namespaces;
pub mod program;
pub mod queue;
pub mod serve;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod watch;
mod write_error;
pub mod writer;

pub use self::controller::{Controller, Next, Reconciler};
pub use self::key::Key;
pub use self::lease::{Election, Leadership};
pub use self::metrics::Metrics;
pub use self::namespaces::{Namespaces, NoNamespaces};
pub use self::queue::Queue;
pub use self::watch::{Scope, Sink};
pub use self::write_error::WriteError;
pub use self::writer::Writer;
