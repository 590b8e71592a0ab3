//! Holds the page of commands to the command line. With `RAYFLEET_UPDATE=1` it writes it.

#![allow(clippy::panic, reason = "how a test's helper fails")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

#[test]
fn the_page_has_every_command_and_flag() {
    let printed = Command::new(env!("CARGO_BIN_EXE_kubectl-rayfleet")).args(["docs", "markdown"]).output();
    let printed = printed.unwrap_or_else(|error| panic!("{error}"));
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let wanted = String::from_utf8_lossy(&printed.stdout);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if env::var("RAYFLEET_UPDATE").is_ok_and(|value| value == "1") {
        fs::write(&path, wanted.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/cli.md is not what the command line says\ncure: RAYFLEET_UPDATE=1 cargo test --workspace --test generated"
    );
}
