//! Lists the Python files of `launcher/`, without its tests, for the package that is uploaded to Ray.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let launcher = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("launcher");
    println!("cargo::rerun-if-changed={}", launcher.display());

    let mut files = Vec::new();
    for entry in fs::read_dir(&launcher).map_err(|e| format!("{}: {e}", launcher.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let is_python = path.extension().is_some_and(|e| e == "py");
        if is_python && !name.starts_with("test_") && name != "conftest.py" {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push((name, path));
        }
    }
    files.sort();

    let mut table = String::from("&[\n");
    for (name, path) in files {
        writeln!(table, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())?;
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("launcher_files.rs"), table)?;
    Ok(())
}
