//! The only module of the programs that writes: results to standard output, progress and errors to standard error. It knows
//! whether there is a terminal, and whether it has colours.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use crate::{CliError, Kind};

/// Format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document; with -f or a watch: one per line
    Json,
    /// One YAML document; with -f or a watch: one after the other
    Yaml,
}

/// Output streams and their properties.
pub struct Terminal {
    /// Format of results.
    pub format: Format,
    /// Standard output is a terminal.
    pub tty: bool,
    /// Colours may be used.
    pub color: bool,
    out: Mutex<Box<dyn Write + Send>>,
    progress: Mutex<Box<dyn Write + Send>>,
}

impl Terminal {
    /// Uses standard output and standard error.
    pub fn find(format: Format) -> Self {
        let tty = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { tty, color: tty && !refused && !dumb, ..Self::over(format, io::stdout(), io::stderr()) }
    }

    /// Uses these streams, which are no terminal.
    pub fn over(
        format: Format,
        out: impl Write + Send + 'static,
        progress: impl Write + Send + 'static,
    ) -> Self {
        let (out, progress) = (Mutex::new(Box::new(out) as _), Mutex::new(Box::new(progress) as _));
        Self { format, tty: false, color: false, out, progress }
    }

    /// Writes a result in the chosen format. `text` ends with a newline.
    pub fn result<T: Serialize>(&self, document: &T, text: &str) -> Result<(), CliError> {
        match self.format {
            Format::Text => self.print(text),
            Format::Json => self.print(&(serde_json::to_string_pretty(document).map_err(unwritable)? + "\n")),
            Format::Yaml => self.print(&yaml(document)?),
        }
    }

    /// Writes one document of several, each complete. `text` ends with a newline.
    pub fn entry<T: Serialize>(&self, document: &T, text: &str) -> Result<(), CliError> {
        match self.format {
            Format::Text => self.print(text),
            Format::Json => self.print(&(serde_json::to_string(document).map_err(unwritable)? + "\n")),
            Format::Yaml => self.print(&format!("---\n{}", yaml(document)?)),
        }
    }

    /// Writes text, whatever the format.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = self.out.lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
            let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::Closed } else { Kind::Failed };
            CliError { kind, ..CliError::plain(format!("cannot write the output: {error}")) }
        })
    }

    /// Writes bytes of any kind, whatever the format.
    pub fn copy(&self, from: &mut impl io::Read) -> Result<(), CliError> {
        let mut out = self.out.lock();
        io::copy(from, &mut *out).and_then(|_| out.flush()).map_err(|error| {
            let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::Closed } else { Kind::Failed };
            CliError { kind, ..CliError::plain(format!("cannot write the output: {error}")) }
        })
    }

    /// Redraws text without clearing the screen first, which would flicker: cursor home; each line erases the rest of its row;
    /// then everything below is erased.
    pub fn redraw(&self, text: &str) -> Result<(), CliError> {
        let lines: String = text.lines().flat_map(|line| [line, "\u{1b}[K\n"]).collect();
        self.print(&format!("\u{1b}[H{lines}\u{1b}[J"))
    }

    /// Reports progress to people. A write error is ignored.
    pub fn progress(&self, line: &str) {
        let _ = writeln!(self.progress.lock(), "{line}");
    }

    /// Reports the final error, to people or scripts.
    pub fn fault(&self, fault: &CliError) {
        match (fault.kind, self.format) {
            (Kind::Closed, _) => {}
            _ if fault.message.is_empty() => {}
            (_, Format::Text) => self.progress(&fault.to_string()),
            (_, Format::Json | Format::Yaml) => self.progress(&json!({"error": fault}).to_string()),
        }
    }
}

/// Writes a line to standard error. A write error is ignored.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A document as YAML.
pub fn yaml<T: Serialize>(document: &T) -> Result<String, CliError> {
    let text = serde_saphyr::to_string(document).map_err(unwritable)?;
    Ok(format!("{}\n", text.trim_end()))
}

fn unwritable(error: impl std::fmt::Display) -> CliError {
    CliError::plain(format!("cannot write the result: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Kept;

    #[test]
    fn a_frame_erases_what_it_does_not_cover() {
        let kept = Kept::default();
        kept.terminal(Format::Text).redraw("a\nbc\n").unwrap();
        assert_eq!(kept.out(), "\u{1b}[Ha\u{1b}[K\nbc\u{1b}[K\n\u{1b}[J");
    }

    #[test]
    fn results_entries_and_errors_have_the_format() {
        let document = json!({"a": 1, "b": "x"});
        let fault = CliError::failed("no", "yes");
        for (format, result, entry, error) in [
            (Format::Text, "text\n", "text\n", "error: no\ncure:  yes\n"),
            (
                Format::Json,
                "{\n  \"a\": 1,\n  \"b\": \"x\"\n}\n",
                "{\"a\":1,\"b\":\"x\"}\n",
                "{\"error\":{\"cure\":\"yes\",\"message\":\"no\"}}\n",
            ),
            (
                Format::Yaml,
                "a: 1\nb: x\n",
                "---\na: 1\nb: x\n",
                "{\"error\":{\"cure\":\"yes\",\"message\":\"no\"}}\n",
            ),
        ] {
            let kept = Kept::default();
            let terminal = kept.terminal(format);
            terminal.result(&document, "text\n").unwrap();
            terminal.entry(&document, "text\n").unwrap();
            terminal.fault(&fault);
            assert_eq!((kept.out(), kept.progress()), (format!("{result}{entry}"), error.to_owned()));
        }
    }
}
