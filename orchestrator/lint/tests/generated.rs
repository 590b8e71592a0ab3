//! Holds the page of rules to the rules. With `RAYFLEET_UPDATE=1` it writes it.

#![allow(clippy::panic, reason = "how a test's helper fails")]

use std::path::Path;
use std::{env, fs};

use rayfleet_lint::rule;

const TOP: &str = "# Rules of `kubectl rayfleet lint`

For whoever reads a finding. `kubectl rayfleet lint FILE...` reads manifests as YAML or JSON and asks no
cluster; `-o sarif` is for code hosts, and `--fail-on` says which severity makes a build fail. An *error*
does not work, a *warning* bites at some time, a *note* is worth to know. The last rules are what `kubectl
rayfleet migrate` did.

Generated from the rules: do not edit.

";

#[test]
fn the_page_has_every_rule() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint.md");
    let wanted = format!("{TOP}{}", rule::markdown());
    if env::var("RAYFLEET_UPDATE").is_ok_and(|value| value == "1") {
        fs::write(&path, wanted).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/lint.md is not what the rules say\ncure: RAYFLEET_UPDATE=1 cargo test --workspace --test generated"
    );
}
