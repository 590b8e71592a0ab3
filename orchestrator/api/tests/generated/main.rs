//! Holds the generated files to the types. With `RAYFLEET_UPDATE=1` it writes them.

#![allow(clippy::panic, reason = "how a test's helper fails")]

mod markdown;
mod sections;

use std::path::Path;
use std::{env, fs};

use rayfleet_api::generated::{UPDATE, crd_manifest};

use crate::markdown::reference_markdown;

fn hold(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    if env::var("RAYFLEET_UPDATE").is_ok_and(|value| value == "1") {
        fs::write(&path, wanted).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found == wanted {
        return;
    }
    let same = found.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
    panic!(
        "{file} is not what the types say, from line {} on:\n  it has:  {}\n  wanted:  {}\ncure: {UPDATE}",
        same + 1,
        found.lines().nth(same).unwrap_or("(its end)"),
        wanted.lines().nth(same).unwrap_or("(its end)"),
    );
}

#[test]
fn the_shipped_crd_is_what_the_types_say() {
    hold("manifests/crd.yaml", &crd_manifest().unwrap());
}

#[test]
fn the_reference_is_what_the_types_say() {
    hold("docs/reference.md", &reference_markdown());
}
