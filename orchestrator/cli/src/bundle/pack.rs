//! Writes a bundle: a zip that grows in a file without its final name, which it gets when it is complete. Everything that goes in is
//! redacted here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use rayfleet_cli_kit::CliError;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::manifest::{Entry, Fault, Manifest, NAME, What};
use super::redact::Redactor;
use super::tail::Tail;

/// What a bundle says of itself to people; `{scope}` stands for the words that choose its fleets.
const README: &str = "\
This is what kubectl rayfleet support-bundle read of a cluster. Read it with

  kubectl rayfleet diagnose{scope} --from THIS-FILE
  kubectl rayfleet status{scope} --from THIS-FILE

and with every other command that changes nothing. manifest.json says what is in it, what was cut and
what could not be read.

Hidden (as <redacted>) is what is known as a secret: values of variables and fields with such names,
tokens of known forms, Authorization headers, passwords in URLs, keys behind --api-key. Secrets and
ConfigMaps were not read. NOT hidden are names (of fleets, models, namespaces, nodes, images), labels,
addresses, the events' and engines' own words, and a secret that looks like any other word. Read it
before you send it to somebody.
";

/// A bundle that is being written.
pub(super) struct Pack {
    zip: ZipWriter<BufWriter<NamedTempFile>>,
    pub(super) redactor: Redactor,
    entries: Vec<Entry>,
    names: BTreeSet<String>,
    /// Bytes of texts that may still go in.
    left: u64,
    /// Texts of which something is missing for that.
    cut: usize,
}

impl Pack {
    /// Begins a bundle in a directory. Of logs and answers no more than so many bytes go in, before they are compressed.
    pub(super) fn begin(directory: &Path, most: u64) -> io::Result<Self> {
        let file =
            tempfile::Builder::new().prefix(".rayfleet-bundle-").suffix(".part").tempfile_in(directory)?;
        Ok(Self {
            zip: ZipWriter::new(BufWriter::new(file)),
            redactor: Redactor::default(),
            entries: Vec::new(),
            names: BTreeSet::new(),
            left: most,
            cut: 0,
        })
    }

    /// Adds the objects of a list.
    pub(super) fn list(&mut self, mut entry: Entry, mut objects: Vec<Value>, name: &str) -> io::Result<()> {
        if entry.fault.is_none() {
            for object in &mut objects {
                self.redactor.object(object);
            }
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects});
            entry.file = Some(self.file(name, &pretty(&list)?)?);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Adds an object or an answer.
    pub(super) fn object(&mut self, mut entry: Entry, mut object: Value, name: &str) -> io::Result<()> {
        self.redactor.object(&mut object);
        let bytes = pretty(&object)?;
        entry.size = length(&bytes);
        entry.file = Some(self.file(name, &bytes)?);
        self.entries.push(entry);
        Ok(())
    }

    /// Adds a text, or the end of it that there is room for.
    pub(super) fn text(&mut self, mut entry: Entry, text: &Tail, name: &str) -> io::Result<()> {
        let whole = String::from_utf8_lossy(&text.bytes);
        let hidden = match entry.what {
            What::Answer => self.redactor.answer(&whole),
            _ => self.redactor.text(&whole),
        };
        let (kept, mut before) = end(&hidden, self.left);
        if before > 0 {
            self.cut += 1;
        }
        before = before.saturating_add(text.before);
        self.left = self.left.saturating_sub(length(kept.as_bytes()));
        let mut missing = Vec::new();
        if before > 0 {
            missing.push(format!("the first {before} bytes are left out"));
        }
        missing.extend(text.broke.as_ref().map(|why| format!("it broke off: {why}")));
        entry.cut = Some(missing.join("; ")).filter(|it| !it.is_empty());
        entry.size = length(kept.as_bytes());
        entry.file = Some(self.file(name, kept.as_bytes())?);
        self.entries.push(entry);
        Ok(())
    }

    /// Notes that there is no answer.
    pub(super) fn missing(&mut self, entry: Entry, mut fault: Fault) {
        fault.message = self.redactor.text(&fault.message).into_owned();
        self.entries.push(Entry { fault: Some(fault), ..entry });
    }

    /// Texts that were shortened, or left out, for want of room.
    pub(super) fn cut(&self) -> usize {
        self.cut
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<String> {
        let plain = |letter: char| {
            if letter.is_ascii_alphanumeric() || "-_./".contains(letter) { letter } else { '_' }
        };
        let name: String = name.chars().map(plain).collect();
        let mut unique = name.clone();
        for number in 2.. {
            if self.names.insert(unique.to_lowercase()) {
                break;
            }
            unique = format!("{name}.{number}");
        }
        self.zip.start_file(unique.as_str(), SimpleFileOptions::default()).map_err(io::Error::other)?;
        self.zip.write_all(bytes)?;
        Ok(unique)
    }

    /// Ends it. The file has no final name yet, and goes with what is returned.
    pub(super) fn end(mut self, mut manifest: Manifest) -> io::Result<(Manifest, NamedTempFile)> {
        manifest.entries = std::mem::take(&mut self.entries);
        let readme = README.replace("{scope}", &manifest.scope.flags());
        self.file("README.txt", readme.as_bytes())?;
        let value = serde_json::to_value(&manifest).map_err(io::Error::other)?;
        self.file(NAME, &pretty(&value)?)?;
        let buffer = self.zip.finish().map_err(io::Error::other)?;
        let mut file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.rewind()?;
        Ok((manifest, file))
    }
}

/// Gives a bundle its name, which no file may have yet.
pub(super) fn name(file: NamedTempFile, path: &Path) -> Result<(), CliError> {
    file.persist_noclobber(path).map(|file: File| drop(file)).map_err(|error| unwritable(path, &error.error))
}

/// A file that cannot be written.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> CliError {
    let shown = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists {
        return CliError::usage(format!("-o {shown}: the file exists"), "choose another name, or remove it");
    }
    CliError::usage(format!("-o {shown}: {error}"), "choose another place with -o, or - for standard output")
}

fn pretty(value: &Value) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// The last lines of a text that fit, and the bytes before them.
fn end(text: &str, room: u64) -> (&str, u64) {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let Some(surplus) = text.len().checked_sub(room).filter(|surplus| *surplus > 0) else { return (text, 0) };
    let line =
        text.as_bytes().iter().skip(surplus).position(|byte| *byte == b'\n').map(|at| surplus + at + 1);
    let kept = line.and_then(|line| text.get(line..)).unwrap_or_default();
    (kept, length(text.as_bytes()) - length(kept.as_bytes()))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
