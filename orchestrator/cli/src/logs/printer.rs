//! Prints what the readings say, and knows whether anything could be read.

use rayfleet_cli_kit::{CliError, Format, Terminal};

use super::args::LogsArgs;
use super::context::Said;
use super::show::Show;

/// What came of readings that have all ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A log was read.
    Read,
    /// None was, and it was said why.
    Said,
    /// None was there.
    Nothing,
}

/// Prints what the readings say.
pub(super) struct Printer<'a> {
    pub(super) show: Show,
    terminal: &'a Terminal,
    opened: bool,
    noted: String,
    refused: Vec<CliError>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(args: &LogsArgs, terminal: &'a Terminal) -> Self {
        let show = Show::new(terminal.color, args.timestamps, args.raw, args.grep.clone());
        Self { show, terminal, opened: false, noted: String::new(), refused: Vec::new() }
    }

    /// Prints this, and what else is there at once.
    pub(super) fn take(&mut self, said: Said, more: &mut dyn Iterator<Item = Said>) -> Result<(), CliError> {
        let mut text = String::new();
        for said in std::iter::once(said).chain(more) {
            match said {
                Said::Line(entry) => {
                    let Some((document, line)) = self.show.line(&entry) else { continue };
                    match self.terminal.format {
                        Format::Text => text.push_str(&line),
                        _ => self.terminal.entry(&document, &line)?,
                    }
                }
                // Both files of a rank say the same.
                Said::Note(words) if words == self.noted => {}
                Said::Note(words) => {
                    self.terminal.progress(&words);
                    self.noted = words;
                }
                Said::Opened => self.opened = true,
                Said::Refused(fault) => {
                    // The same right is missing for every group.
                    if !self.refused.iter().any(|known| known.cure == fault.cure) {
                        self.terminal.progress(&format!(
                            "not readable: {}\ncure:  {}",
                            fault.message,
                            fault.cure.clone().unwrap_or_default()
                        ));
                        self.refused.push(fault);
                    }
                }
            }
        }
        if text.is_empty() { Ok(()) } else { self.terminal.print(&text) }
    }

    /// What has come of the readings so far.
    pub(super) fn outcome(&self) -> Outcome {
        if self.opened {
            Outcome::Read
        } else if self.refused.is_empty() && self.noted.is_empty() {
            Outcome::Nothing
        } else {
            Outcome::Said
        }
    }

    /// The error of a command that goes on, once every log is refused.
    pub(super) fn nothing_but_refusals(&self, under_way: usize) -> Option<CliError> {
        let hopeless = !self.opened && under_way == 0 && !self.refused.is_empty();
        hopeless.then(CliError::said)
    }
}
