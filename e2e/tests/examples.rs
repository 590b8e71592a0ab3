//! Every example is what it says it is: read, typed without loss, and valid by Rayfleet's own rules.
//! Whether the CRD takes them is asked of a real API server by the cluster tests.

use std::path::{Path, PathBuf};

use rayfleet_e2e::cluster::manifest::Manifest;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn read(name: &str) -> Manifest {
    Manifest::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)).unwrap()
}

#[test]
fn all_are_valid() {
    let files = examples();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let valid = Manifest::read(&file).unwrap().valid();
        assert!(valid.is_ok(), "{}: {valid:?}", file.display());
    }
}

/// A field that our types do not know would be dropped by the API server without a word.
#[test]
fn all_fields_are_known() {
    for file in examples() {
        let manifest = Manifest::read(&file).unwrap();
        let typed = serde_json::to_value(manifest.typed().unwrap()).unwrap();
        assert_eq!(typed["spec"], manifest.fleet["spec"], "{}", file.display());
    }
}

#[test]
fn all_begin_with_three_lines_that_say_what_they_are() {
    for file in examples() {
        let text = std::fs::read_to_string(&file).unwrap();
        let comments = text.lines().take_while(|line| line.starts_with("# ")).count();
        assert_eq!(comments, 3, "{}", file.display());
    }
}

#[test]
fn shapes_are_as_told() {
    let shape = |name: &str| {
        let valid = read(name).valid().unwrap();
        (valid.replicas, valid.shape.pods.len(), valid.shape.gpus(), valid.ranks())
    };
    assert_eq!(shape("quickstart.yaml"), (2, 2, 2, 2));
    assert_eq!(shape("light.yaml"), (2, 2, 2, 2));
    assert_eq!(shape("llama-405b.yaml"), (2, 2, 16, 16));
    assert_eq!(shape("deepseek-671b.yaml"), (4, 2, 16, 16));
    assert_eq!(shape("aibrix-compatible.yaml"), (1, 2, 2, 0));
    assert_eq!(read("aibrix-compatible.yaml").valid().unwrap().own_engine_port, Some(8000));
}
