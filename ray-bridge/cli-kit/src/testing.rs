//! Keeps what a program writes, for its tests.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Format, Terminal};

/// What was written.
#[derive(Clone, Default)]
pub struct Kept {
    out: Stream,
    progress: Stream,
}

impl Kept {
    /// A terminal that writes to this.
    pub fn terminal(&self, format: Format) -> Terminal {
        Terminal::over(format, self.out.clone(), self.progress.clone())
    }

    /// Results so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Progress so far.
    pub fn progress(&self) -> String {
        self.progress.text()
    }
}

#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Vec<u8>>>);

impl Stream {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
