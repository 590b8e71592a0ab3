//! Writes a manifest to a directory, as a base of kustomize. All files or none that is there already, and never through a
//! link.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use rayfleet_cli_kit::CliError;

use super::beside::kustomization;

/// A file of a manifest.
pub(super) struct Document {
    pub(super) file: &'static str,
    pub(super) text: String,
}

/// Files that are removed again unless all of them came to be.
#[derive(Default)]
struct Unfinished(Vec<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed stays; the error that led here is the one to tell.
            let _ = fs::remove_file(path);
        }
    }
}

impl Unfinished {
    /// A new file; what is there, be it a link, is an error.
    fn create(&mut self, path: PathBuf, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        self.0.push(path);
        file.write_all(text.as_bytes())
    }
}

/// Writes the files and a kustomization.yaml; what was there is replaced only with `force`. The lines to print.
pub(super) fn write(directory: &Path, documents: Vec<Document>, force: bool) -> Result<String, CliError> {
    let shown = directory.display();
    let broken = |error: io::Error| CliError::plain(format!("cannot write to {shown}: {error}"));
    let text = kustomization(documents.iter().map(|document| document.file));
    let mut all = documents;
    all.push(Document { file: "kustomization.yaml", text });
    let there = |path: &Path| {
        CliError::usage(
            format!("{} is there already", path.display()),
            "choose another --output-dir, or replace what is there with --force",
        )
    };
    for path in all.iter().map(|document| directory.join(document.file)) {
        match fs::symlink_metadata(&path) {
            Ok(_) if !force => return Err(there(&path)),
            Ok(found) if found.is_dir() => {
                return Err(CliError::usage(
                    format!("{} is a directory", path.display()),
                    "choose another --output-dir",
                ));
            }
            _ => {}
        }
    }
    fs::create_dir_all(directory).map_err(broken)?;
    let (mut parts, mut made) = (Unfinished::default(), Unfinished::default());
    let part = |file: &str| directory.join(format!(".{file}.{}.part", std::process::id()));
    for document in &all {
        parts.create(part(document.file), &document.text).map_err(broken)?;
    }
    // Between the look above and now somebody may have made one of them.
    for path in all.iter().map(|document| directory.join(document.file)).filter(|_| !force) {
        made.create(path.clone(), "").map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => there(&path),
            _ => broken(error),
        })?;
    }
    // A rename replaces a link, not what it leads to.
    for document in &all {
        fs::rename(part(document.file), directory.join(document.file)).map_err(broken)?;
    }
    made.0.clear();
    parts.0.clear();
    let lines: Vec<String> =
        all.iter().map(|document| format!("{}\n", directory.join(document.file).display())).collect();
    Ok(lines.concat())
}
