//! Formats the documents of `view` as text. Pure; golden files fix the output.

pub(crate) mod picture;
pub(crate) mod ranks;
