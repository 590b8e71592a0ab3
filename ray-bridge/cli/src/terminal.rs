//! The only module that writes output: results to standard output, progress and errors to standard error.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::args::Output;
use crate::error::CliError;

/// Output streams and format.
pub(crate) struct Terminal {
    format: Output,
    out: Mutex<Box<dyn Write + Send>>,
    progress: Mutex<Box<dyn Write + Send>>,
}

impl Terminal {
    /// Uses standard output and standard error.
    pub(crate) fn find(format: Output) -> Self {
        Self { format, out: Mutex::new(Box::new(io::stdout())), progress: Mutex::new(Box::new(io::stderr())) }
    }

    /// Writes a result in the chosen format. `text` must end with a newline.
    pub(crate) fn result<T: Serialize>(&self, document: &T, text: &str) -> Result<(), CliError> {
        match self.format {
            Output::Text => self.write(text),
            Output::Json => self.write(&format!("{}\n", json(document, serde_json::to_string_pretty)?)),
            Output::Yaml => self.write(&yaml(document)?),
        }
    }

    /// Writes one entry of a stream, on one line.
    pub(crate) fn entry<T: Serialize>(&self, document: &T, line: &str) -> Result<(), CliError> {
        match self.format {
            Output::Text => self.write(&format!("{line}\n")),
            Output::Json => self.write(&format!("{}\n", json(document, serde_json::to_string)?)),
            Output::Yaml => self.write(&format!("---\n{}", yaml(document)?)),
        }
    }

    /// Reports progress to people. A write error is ignored.
    pub(crate) fn progress(&self, line: &str) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(progress, "{line}");
    }

    /// Reports the final error to people or scripts.
    pub(crate) fn fault(&self, fault: &CliError) {
        match self.format {
            Output::Text => self.progress(&fault.to_string()),
            Output::Json | Output::Yaml => self.progress(&fault.json().to_string()),
        }
    }

    fn write(&self, text: &str) -> Result<(), CliError> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::Closed,
            _ => CliError::plain(format!("cannot write the output: {error}")),
        })
    }
}

fn json<T>(document: &T, write: impl Fn(&T) -> serde_json::Result<String>) -> Result<String, CliError> {
    write(document).map_err(|error| CliError::plain(format!("cannot write the result: {error}")))
}

fn yaml<T: Serialize>(document: &T) -> Result<String, CliError> {
    let text = serde_saphyr::to_string(document)
        .map_err(|error| CliError::plain(format!("cannot write the result: {error}")))?;
    Ok(format!("{}\n", text.trim_end()))
}

#[cfg(test)]
pub(crate) mod kept {
    //! Captures output for tests.

    use std::sync::Arc;

    use super::*;

    /// The output of one stream.
    #[derive(Clone, Default)]
    struct Stream(Arc<Mutex<Vec<u8>>>);

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What was written.
    #[derive(Clone, Default)]
    pub(crate) struct Kept {
        out: Stream,
        progress: Stream,
    }

    impl Kept {
        /// A terminal that writes to this capture.
        pub(crate) fn terminal(&self, format: Output) -> Terminal {
            Terminal {
                format,
                out: Mutex::new(Box::new(self.out.clone())),
                progress: Mutex::new(Box::new(self.progress.clone())),
            }
        }

        /// Results so far.
        pub(crate) fn out(&self) -> String {
            String::from_utf8(self.out.0.lock().unwrap().clone()).unwrap()
        }

        /// Progress so far.
        pub(crate) fn progress(&self) -> String {
            String::from_utf8(self.progress.0.lock().unwrap().clone()).unwrap()
        }
    }
}
