//! Text for people out of the documents of `view`. Pure; golden files hold it.

pub(crate) mod age;
pub(crate) mod picture;
pub(crate) mod ranks;
pub(crate) mod table;
