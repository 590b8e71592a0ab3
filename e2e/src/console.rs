//! Output for a person who watches: whole lines, written without buffering.

use std::io::Write;
use std::time::Instant;

use crate::clock;

/// Writes lines to standard output, each with the seconds since the start.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    start: Instant,
    mark: &'static str,
}

impl Default for Console {
    fn default() -> Self {
        Self { start: clock::instant(), mark: "" }
    }
}

impl Console {
    /// The same, with a mark at each line by which it is distinguished from those of others.
    #[must_use]
    pub fn marked(self, mark: &'static str) -> Self {
        Self { mark, ..self }
    }

    /// A line with the time in front.
    pub fn say(&self, text: impl std::fmt::Display) {
        line(format_args!("{:7.1} s  {}{text}", clock::seconds_since(self.start), self.mark));
    }
}

/// Prints a line without the time. A closed pipe is not an error.
pub fn line(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a line on standard error.
pub fn print_error(text: impl std::fmt::Display) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
