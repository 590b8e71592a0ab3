//! The manifests in `examples/`, for tests: they are what users start from, so they must work.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cluster::manifest::Manifest;

/// The folder.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// One of them.
pub fn read(name: &str) -> anyhow::Result<Manifest> {
    Manifest::read(&folder().join(name))
}

/// All of them, by name.
pub fn files() -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

/// Whether each example is what it says it is: typed without loss, and valid by Rayfleet's own rules. What
/// the CRD says to them is asked of a real API server by the cluster tests.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_valid() {
        let files = files().unwrap();
        assert!(files.len() >= 5, "{files:?}");
        for file in files {
            let valid = Manifest::read(&file).unwrap().valid();
            assert!(valid.is_ok(), "{}: {valid:?}", file.display());
        }
    }

    /// A field that our types do not know would be dropped by the API server without a word.
    #[test]
    fn all_fields_are_known() {
        for file in files().unwrap() {
            let manifest = Manifest::read(&file).unwrap();
            let typed = serde_json::to_value(manifest.typed().unwrap()).unwrap();
            assert_eq!(typed["spec"], manifest.fleet["spec"], "{}", file.display());
        }
    }

    #[test]
    fn all_begin_with_three_lines_that_say_what_they_are() {
        for file in files().unwrap() {
            let text = std::fs::read_to_string(&file).unwrap();
            let comments = text.lines().take_while(|line| line.starts_with("# ")).count();
            assert_eq!(comments, 3, "{}", file.display());
        }
    }

    #[test]
    fn shapes_are_as_reported() {
        let shape = |name: &str| {
            let valid = read(name).unwrap().valid().unwrap();
            (valid.replicas, valid.shape.size(), valid.shape.gpus(), valid.ranks())
        };
        assert_eq!(shape("quickstart.yaml"), (2, 2, 2, 2));
        assert_eq!(shape("light.yaml"), (2, 2, 2, 2));
        assert_eq!(shape("llama-405b.yaml"), (2, 2, 16, 16));
        assert_eq!(shape("deepseek-671b.yaml"), (4, 2, 16, 16));
        assert_eq!(shape("aibrix-compatible.yaml"), (1, 2, 2, 0));
        assert_eq!(read("aibrix-compatible.yaml").unwrap().valid().unwrap().own_engine_port, Some(8000));
    }
}
