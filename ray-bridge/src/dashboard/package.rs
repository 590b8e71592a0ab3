//! The zip that Ray unpacks as the working directory of a launch.

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use zip::ZipWriter;
use zip::result::ZipResult;
use zip::write::SimpleFileOptions;

use crate::id::digest;

/// The Python files of `launcher/`, sorted by name.
const LAUNCHER_FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/launcher_files.rs"));

/// A package named by the hash of its content, so that the same files are uploaded once.
#[derive(Clone, PartialEq, Eq)]
pub struct Package {
    name: String,
    bytes: Bytes,
}

impl Package {
    /// The launcher of this version of the bridge.
    pub fn launcher() -> ZipResult<Self> {
        Self::of(LAUNCHER_FILES)
    }

    /// Packs `(name, content)` pairs; the same input gives the same bytes.
    pub fn of(files: &[(&str, &[u8])]) -> ZipResult<Self> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().unix_permissions(0o644);
        for (name, content) in files {
            zip.start_file(*name, options)?;
            zip.write_all(content)?;
        }
        let bytes = zip.finish()?.into_inner();
        Ok(Self { name: format!("_ray_pkg_{}.zip", digest(&bytes)), bytes: bytes.into() })
    }

    /// The package as a job's `working_dir`.
    pub fn uri(&self) -> String {
        format!("gcs://{}", self.name)
    }

    pub(super) fn path(&self) -> String {
        format!("/api/packages/gcs/{}", self.name)
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Package({}, {} bytes)", self.name, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_package() -> ZipResult<()> {
        let files: &[(&str, &[u8])] = &[("a.py", b"print(1)"), ("b.py", b"")];
        assert_eq!(Package::of(files)?, Package::of(files)?);
        assert_ne!(Package::of(files)?.uri(), Package::of(&[("a.py", b"print(2)")])?.uri());
        Ok(())
    }

    #[test]
    fn the_launcher_is_in_and_its_tests_are_not() {
        let names: Vec<&str> = LAUNCHER_FILES.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"rayfleet_launcher.py"), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("test_")), "{names:?}");
    }
}
