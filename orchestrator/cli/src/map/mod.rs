//! `kubectl rayfleet map`: where every rank is, on which node and GPUs, and what links them. Read-only.
//!
//! `read` makes all calls and gives `facts`; `draw` makes a `picture` of them; `text` and `svg` write it.

pub(crate) mod args;
mod draw;
mod facts;
mod picture;
mod read;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use rayfleet_cli_kit::{CliError, Terminal};

use self::args::{MapArgs, MapOutput};
use self::text::Style;
use crate::fleets::Fleets;
use crate::screen;

/// Reads, draws and prints.
pub(crate) async fn run(args: &MapArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let facts = Box::pin(read::facts(fleets, &args.fleet, args.group.as_deref())).await?;
    let picture = draw::picture(&facts, args.group.as_deref());
    if args.output == Some(MapOutput::Svg) {
        return terminal.print(&svg::svg(&picture));
    }
    let width = screen::size().filter(|_| terminal.tty).map(|(width, _)| width);
    let style = Style { wide: args.output == Some(MapOutput::Wide), color: terminal.color, width };
    let text = text::text(&picture, style);
    let text = width.map_or_else(|| text.clone(), |width| screen::cut_lines(&text, width));
    terminal.result(&picture, &text)
}
