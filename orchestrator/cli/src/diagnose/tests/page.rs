//! Holds `docs/diagnose.md` to the table of faults. With `RAYFLEET_UPDATE=1` it writes it.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use super::faults;

const TOP: &str = "# Faults that `kubectl rayfleet diagnose` knows

For whoever looks for a message, or asks what is covered. Every fault of the command's own tests, with the line
of the chain that fails, what is said first of all, and the cure. The fleet is `serving/llama`, of two groups with
two pods each. What the links look at is in [operations.md](operations.md#what-is-wrong).

Generated from the tests: do not edit. `RAYFLEET_UPDATE=1 cargo test -p kubectl-rayfleet the_page_has`

| fault | line | what is said first | cure |
|---|---|---|---|
";

fn page() -> String {
    let cell = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
    let mut page = TOP.to_owned();
    for fault in faults::all() {
        let (step, finding) = fault.first().unwrap();
        let (line, what, cure) = (step.link.title(), cell(&finding.what), cell(&finding.cure));
        writeln!(page, "| {} | {line} | {what} | {cure} |", cell(fault.name)).unwrap();
    }
    page
}

#[test]
fn the_page_has_every_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnose.md");
    if env::var("RAYFLEET_UPDATE").is_ok_and(|value| value == "1") {
        fs::write(&path, page()).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page(),
        "docs/diagnose.md is not what the faults say\ncure: RAYFLEET_UPDATE=1 cargo test -p kubectl-rayfleet \
         the_page_has"
    );
}
