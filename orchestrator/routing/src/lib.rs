//! Which group of a fleet answers a request. Pure: what is known of the groups comes in as events with their time, and so does
//! randomness; nothing here sends anything, waits or reads a clock. A [`Router`] is what one gateway knows of the groups of one fleet,
//! [`Router::pick`] ranks them for one request by a [`Strategy`].
//!
//! Must not live here: HTTP, Kubernetes, engines' metrics as text, names of models.

mod cache;
mod ejection;
mod load;
mod pick;
mod prompt;
mod router;
mod score;
mod strategy;

pub use self::ejection::Failure;
pub use self::load::Report;
pub use self::pick::{Choice, NoEndpoint};
pub use self::prompt::{Prompt, PromptHasher};
pub use self::router::{Request, Router, Ticket};
pub use self::score::Scorer;
pub use self::strategy::{Strategy, UnknownStrategy};
