//! The only module that writes output. It knows whether there is a terminal, and whether it has colours.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::error::CliError;

/// The output stream and its properties.
pub(crate) struct Terminal {
    /// Standard output is a terminal.
    pub(crate) tty: bool,
    /// Colours may be used.
    pub(crate) color: bool,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Terminal {
    /// Uses standard output.
    pub(crate) fn find() -> Self {
        let tty = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { tty, color: tty && !refused && !dumb, out: Mutex::new(Box::new(io::stdout())) }
    }

    /// Writes text to the output.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::Closed,
            _ => CliError::new(format!("cannot write the output: {error}")),
        })
    }

    /// Redraws text without clearing the screen first, which would flicker.
    pub(crate) fn redraw(&self, text: &str) -> Result<(), CliError> {
        self.print(&frame(text))
    }
}

/// Cursor home; each line erases the rest of its row; then everything below is erased.
fn frame(text: &str) -> String {
    let mut frame = String::from("\u{1b}[H");
    for line in text.lines() {
        frame.push_str(line);
        frame.push_str("\u{1b}[K\n");
    }
    frame.push_str("\u{1b}[J");
    frame
}

/// Prints a note to standard error. A write error is ignored.
pub(crate) fn note(text: &str) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
pub(crate) mod kept {
    //! Captures output for tests.

    use std::sync::Arc;

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        /// A terminal that writes to this capture.
        pub(crate) fn terminal(&self, tty: bool) -> Terminal {
            Terminal { tty, color: false, out: Mutex::new(Box::new(self.clone())) }
        }

        /// Everything so far.
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_erases_what_it_does_not_cover() {
        assert_eq!(frame("a\nbc\n"), "\u{1b}[Ha\u{1b}[K\nbc\u{1b}[K\n\u{1b}[J");
    }
}
