//! Turns data and a time into text. Pure: no output, no clock, no client.

pub(crate) mod fleet;
pub(crate) mod groups;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod ranks;
