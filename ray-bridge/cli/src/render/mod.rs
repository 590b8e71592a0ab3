//! Formats the documents of `view` as text. Pure; golden files fix the output.

pub(crate) mod age;
pub(crate) mod picture;
pub(crate) mod ranks;
pub(crate) mod table;
