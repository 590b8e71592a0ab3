//! Lines and columns. No reading of manifests.

use std::fmt;

use serde::Serialize;

/// A place in a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Line, from 1 on; 0 if it is not known.
    pub line: u32,
    /// Column in characters, from 1 on; 0 if it is not known.
    pub column: u32,
}

impl Place {
    /// A place by its line and column.
    pub fn new(line: u64, column: u64) -> Self {
        let bounded = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: bounded(line), column: bounded(column) }
    }

    /// The place of a byte.
    pub(crate) fn at_byte(bytes: &[u8], byte: usize) -> Self {
        let before = bytes.get(..byte).unwrap_or(bytes);
        let lines = before.split(|byte| *byte == b'\n');
        let last = lines.clone().next_back().unwrap_or_default();
        let characters = String::from_utf8_lossy(last).chars().count();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self::new(number(lines.count()), number(characters).saturating_add(1))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
