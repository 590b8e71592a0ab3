//! The CRD as it is shipped. Pure text; a test writes it, and the reference of its fields, and holds the committed files to what the
//! types say.

use crate::schema::crd;

/// How the generated files are written again; they say so themselves.
pub const UPDATE: &str = "RAYFLEET_UPDATE=1 cargo test -p rayfleet-api --test generated";

/// The CRD as YAML, with a head that says where it comes from: `manifests/crd.yaml`.
pub fn crd_manifest() -> Result<String, serde_saphyr::ser::Error> {
    let yaml = serde_saphyr::to_string(&crd())?;
    Ok(format!(
        "# Generated from the types in orchestrator/api; a test holds it to them. Write it again with\n# {UPDATE}\n{yaml}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_yaml_of_the_crd() {
        let read: serde_json::Value = serde_saphyr::from_str(&crd_manifest().unwrap()).unwrap();
        assert_eq!(read["metadata"]["name"], "rayclusterfleets.orchestration.aibrix.ai");
    }
}
