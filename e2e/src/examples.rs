//! The manifests in `examples/`, for tests: users start from them, so they must work.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cluster::manifest::Manifest;

/// Path of the folder.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Reads an example by its file name.
pub fn read(name: &str) -> anyhow::Result<Manifest> {
    Manifest::read(&folder().join(name))
}

/// Paths of all examples, sorted by name.
pub fn files() -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

/// Each example matches its description: it can be parsed without loss, and is valid by Rayfleet's own
/// rules. The cluster tests check them against the CRD on a real API server.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_examples_are_valid() {
        let files = files().unwrap();
        assert!(files.len() >= 5, "{files:?}");
        for file in files {
            let valid = Manifest::read(&file).unwrap().valid();
            assert!(valid.is_ok(), "{}: {valid:?}", file.display());
        }
    }

    /// The API server would silently drop a field that our types do not know.
    #[test]
    fn all_fields_of_the_examples_are_known() {
        for file in files().unwrap() {
            let manifest = Manifest::read(&file).unwrap();
            let typed = serde_json::to_value(manifest.typed().unwrap()).unwrap();
            assert_eq!(typed["spec"], manifest.fleet["spec"], "{}", file.display());
        }
    }

    #[test]
    fn every_example_starts_with_three_lines_of_description() {
        for file in files().unwrap() {
            let text = std::fs::read_to_string(&file).unwrap();
            let comments = text.lines().take_while(|line| line.starts_with("# ")).count();
            assert_eq!(comments, 3, "{}", file.display());
        }
    }

    #[test]
    fn every_example_has_its_described_shape() {
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
