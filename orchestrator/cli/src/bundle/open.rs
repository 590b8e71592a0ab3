//! Opens a bundle, which may come from a stranger: everything in it has a bound, nothing of it is written to a disk, and no file is
//! read but by its name in the manifest.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;
use zip::ZipArchive;

use super::manifest::{FORMAT, Manifest, NAME};

/// Largest bundle, and most files in it: each takes memory while the directory is read.
const LARGEST: u64 = 1 << 30;
const FILES: u16 = 20_000;
/// Largest directory of a bundle, in bytes.
const DIRECTORY: u32 = 8 << 20;
/// Largest manifest, and largest other file, unpacked; in tests smaller, which pack such files first.
const LARGEST_MANIFEST: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };
const LARGEST_FILE: u64 = if cfg!(test) { 4 << 20 } else { 64 << 20 };
/// What may be unpacked in all: one file may be named many times.
const LARGEST_ALL: u64 = 4 << 30;
/// Length of the end of a directory without a comment, and what it begins with (APPNOTE 4.3.16).
const END: usize = 22;
const END_BEGINS: [u8; 4] = *b"PK\x05\x06";

/// An open bundle.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) manifest: Manifest,
    archive: Mutex<ZipArchive<File>>,
    /// Bytes that may still be unpacked.
    left: AtomicU64,
}

impl Bundle {
    /// Opens a file.
    pub(super) fn open(file: &Path) -> Result<Self, CliError> {
        let shown = one_line(&file.display().to_string());
        let unusable = |why: String| {
            CliError::usage(
                format!("--from {shown}: {why}"),
                "give a file that kubectl rayfleet support-bundle wrote",
            )
        };
        let archive = archive(file).map_err(unusable)?;
        let bundle = Self {
            manifest: Manifest {
                format: FORMAT,
                at: jiff::Timestamp::UNIX_EPOCH,
                made_by: String::new(),
                scope: super::manifest::Scope::default(),
                server: serde_json::Value::Null,
                since_seconds: None,
                entries: Vec::new(),
                left_out: Vec::new(),
            },
            archive: Mutex::new(archive),
            left: AtomicU64::new(LARGEST_ALL),
        };
        let text = bundle.unpack(NAME, LARGEST_MANIFEST).map_err(unusable)?;
        let manifest = manifest(&text).map_err(unusable)?;
        Ok(Self { manifest, ..bundle })
    }

    /// A file of the manifest, unpacked.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        self.unpack(name, LARGEST_FILE)
    }

    fn unpack(&self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let mut archive = self.archive.lock();
        let shown = || one_line(&cut(name, 200));
        let file = archive.by_name(name).map_err(|error| format!("{}: {error}", shown()))?;
        let most = most.min(self.left.load(Ordering::Relaxed));
        if file.size() > most {
            return Err(format!("{} is larger than a bundle's files are", shown()));
        }
        let mut bytes = Vec::new();
        // What it says of its length is a stranger's word.
        let length = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
        let length = length.map_err(|error| format!("{}: {error}", shown()))?;
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        if length > most {
            return Err(format!("{} is larger than a bundle's files are", shown()));
        }
        self.left.fetch_sub(length, Ordering::Relaxed);
        Ok(bytes)
    }
}

fn manifest(text: &[u8]) -> Result<Manifest, String> {
    #[derive(serde::Deserialize)]
    struct Form {
        format: u32,
    }
    let form: Form = serde_json::from_slice(text).map_err(|error| format!("{NAME}: {error}"))?;
    if form.format != FORMAT {
        return Err(format!(
            "it has form {}, and this program reads form {FORMAT}: another version wrote it",
            form.format
        ));
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| format!("{NAME}: {error}"))?;
    if manifest.entries.len() > usize::from(FILES) {
        return Err(format!("{NAME} has more than {FILES} entries"));
    }
    Ok(manifest)
}

fn archive(path: &Path) -> Result<ZipArchive<File>, String> {
    let words = |error: io::Error| error.to_string();
    // A named pipe would be waited for without end.
    let metadata = std::fs::metadata(path).map_err(words)?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if metadata.len() > LARGEST {
        return Err(format!("it has more than {} MiB", LARGEST >> 20));
    }
    let mut file = File::open(path).map_err(words)?;
    is_small(&mut file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => error.to_string(),
        _ => "it is no bundle: a zip has an end".to_owned(),
    })?;
    ZipArchive::new(file).map_err(|error| format!("it is no bundle: {error}"))
}

/// Looks at the end of the directory before anything believes it: its library makes room for as many files as it says.
fn is_small(file: &mut File) -> io::Result<()> {
    let mut end = [0; END];
    file.seek(SeekFrom::End(-i64::try_from(END).unwrap_or_default()))?;
    file.read_exact(&mut end)?;
    file.rewind()?;
    let odd = |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let (begins, files, length) = (end.get(..4), end.get(10..12), end.get(12..16));
    let (Some(begins), Some(files), Some(length)) = (begins, files, length) else {
        return odd("it is no bundle".to_owned());
    };
    if begins != END_BEGINS {
        return odd("it is no bundle, or it is not complete".to_owned());
    }
    let files = files.try_into().map_or(u16::MAX, u16::from_le_bytes);
    let length = length.try_into().map_or(u32::MAX, u32::from_le_bytes);
    if files > FILES || length > DIRECTORY {
        return odd(format!("it has more files than a bundle, of which at most {FILES} are read"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn a_file_that_is_named_often_is_not_unpacked_without_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = ZipWriter::new(file.reopen().unwrap());
        let manifest = br#"{"format": 1, "at": "2030-01-01T00:00:00Z", "madeBy": "x", "scope": {}}"#;
        for (name, bytes) in [(NAME, &manifest[..]), ("a", &[b'x'; 100])] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        let bundle = Bundle::open(file.path()).unwrap();
        bundle.left.store(250, Ordering::Relaxed);
        assert_eq!(bundle.read("a").unwrap().len(), 100);
        assert_eq!(bundle.read("a").unwrap().len(), 100);
        assert!(bundle.read("a").unwrap_err().contains("larger than a bundle's files are"));
    }
}
