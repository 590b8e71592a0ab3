//! Writes a manifest to a directory, as a base of kustomize. All files or none that is there already.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rayfleet_cli_kit::CliError;

use super::beside::kustomization;

/// A file of a manifest.
pub(super) struct Document {
    pub(super) file: &'static str,
    pub(super) text: String,
}

/// Writes the files and a kustomization.yaml; what was there is replaced only with `force`. The lines to print.
pub(super) fn write(directory: &Path, documents: Vec<Document>, force: bool) -> Result<String, CliError> {
    let shown = directory.display();
    let broken = |error: std::io::Error| CliError::plain(format!("cannot write to {shown}: {error}"));
    let text = kustomization(documents.iter().map(|document| document.file));
    let mut all = documents;
    all.push(Document { file: "kustomization.yaml", text });
    if !force && let Some(there) = all.iter().find(|document| directory.join(document.file).exists()) {
        return Err(CliError::usage(
            format!("{} is there already", directory.join(there.file).display()),
            "choose another --output-dir, or replace what is there with --force",
        ));
    }
    fs::create_dir_all(directory).map_err(broken)?;
    for document in &all {
        let path = directory.join(document.file);
        let mut options = fs::OpenOptions::new();
        options.write(true);
        // Between the look above and now somebody may have made it.
        if force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        let written = options
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, document.text.as_bytes()));
        written.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                CliError::usage(format!("{} is there already", path.display()), "use --force")
            }
            _ => broken(error),
        })?;
    }
    let lines: Vec<String> =
        all.iter().map(|document| format!("{}\n", directory.join(document.file).display())).collect();
    Ok(lines.concat())
}
