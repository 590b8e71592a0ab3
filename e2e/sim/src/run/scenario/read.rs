//! Scenario files: YAML, validated when read. A manifest that a file refers to is looked up relative to it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Expect, Load, Node, Patch, Scenario, Step};

/// An invalid scenario file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// Its content is invalid.
    #[error("{0}: {1}")]
    Written(PathBuf, String),
}

/// A scenario as written in its file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    about: String,
    fleet: WrittenFleet,
    nodes: Vec<Node>,
    #[serde(default)]
    load: Load,
    #[serde(default)]
    steps: Vec<Step>,
    expect: Expect,
    #[serde(default)]
    standby: bool,
    #[serde(default)]
    from_aibrix: bool,
    only_simulated: Option<String>,
}

/// A manifest, inline or by path, and changes to it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenFleet {
    from: Option<PathBuf>,
    manifest: Option<Value>,
    #[serde(default)]
    patches: Vec<Patch>,
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new("."));
        let text = text_of(path)?;
        let wrong = |cause: String| ReadError::Written(path.to_owned(), cause);
        let written: Written = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let (mut fleet, others) = match (written.fleet.from, written.fleet.manifest) {
            (Some(from), None) => documents(&folder.join(from))?,
            (None, Some(manifest)) => (manifest, Vec::new()),
            _ => return Err(wrong("fleet: one of `from` and `manifest` has to be given".to_owned())),
        };
        for patch in &written.fleet.patches {
            patch.apply(&mut fleet).map_err(|cause| wrong(format!("fleet.patches: {cause}")))?;
        }
        Ok(Self {
            name,
            about: written.about,
            fleet,
            others,
            nodes: written.nodes,
            load: written.load,
            steps: written.steps,
            expect: written.expect,
            standby: written.standby,
            from_aibrix: written.from_aibrix,
            only_simulated: written.only_simulated,
        })
    }
}

fn text_of(path: &Path) -> Result<String, ReadError> {
    std::fs::read_to_string(path).map_err(|error| ReadError::File(path.to_owned(), error))
}

/// The fleet of a manifest, and the other objects in it.
fn documents(path: &Path) -> Result<(Value, Vec<Value>), ReadError> {
    let wrong = |cause: String| ReadError::Written(path.to_owned(), cause);
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text_of(path)?).map_err(|error| wrong(error.to_string()))?;
    let (mut fleets, others): (Vec<_>, Vec<_>) = documents
        .into_iter()
        .filter(|object| !object.is_null())
        .partition(|object| object["kind"] == "RayClusterFleet");
    match (fleets.pop(), fleets.is_empty()) {
        (Some(fleet), true) => Ok((fleet, others)),
        _ => Err(wrong("there is not exactly one RayClusterFleet in it".to_owned())),
    }
}

/// The scenarios of the project, by name.
pub fn standard() -> Result<Vec<Scenario>, ReadError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(&folder).map_err(|error| ReadError::File(folder.clone(), error))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(|error| ReadError::File(folder.clone(), error))?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().map(|file| Scenario::read(file)).collect()
}
