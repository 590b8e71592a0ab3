//! The only error type of the programs: message, cure and exit code. Printing does not belong here.

use std::fmt;

use serde::Serialize;

/// The kinds of errors; their numbers are the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The reader of the output is gone, so nothing can be reported.
    Closed = 0,
    /// Something failed, or the answer is no.
    Failed = 1,
    /// The command line or a file cannot be used.
    Usage = 2,
    /// What the program talks to was not reached, or refused us.
    Unreachable = 3,
}

/// An error for people, and as a document for scripts.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CliError {
    /// The kind, which decides the exit code.
    #[serde(skip)]
    pub kind: Kind,
    /// Object, field and what is wrong.
    pub message: String,
    /// What the reader can do, if known.
    pub cure: Option<String>,
}

impl CliError {
    /// A failure.
    pub fn failed(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..Self::plain(message) }
    }

    /// Input that cannot be used.
    pub fn usage(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, ..Self::failed(message, cure) }
    }

    /// A failure without a cure.
    pub fn plain(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into(), cure: None }
    }

    /// The answer is no, and the result has said so: nothing is left but the exit code. How a command that has
    /// printed what is wrong ends with 1.
    pub fn said() -> Self {
        Self::plain("")
    }

    /// The exit code of a program that ends with it.
    pub fn code(&self) -> u8 {
        self.kind as u8
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.cure.iter().try_for_each(|cure| write!(f, "\ncure:  {cure}"))
    }
}
