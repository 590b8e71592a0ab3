//! The fleets of a manifest. Pure.

use rayfleet_api::names;
use rayfleet_lint::read;
use serde_json::Value;

/// Fleets of one manifest.
const MOST: usize = 100;

/// A fleet to apply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) namespace: String,
    pub(super) name: String,
    /// As in the manifest, with its namespace.
    pub(super) object: Value,
}

/// All fleets of a manifest, or what is wrong with it and the cure. A list counts as its items.
pub(super) fn fleets(text: &str, file: &str, namespace: &str) -> Result<Vec<Wanted>, (String, String)> {
    let give = || "give a manifest of fleets with -f, or - for input".to_owned();
    let objects = read::objects(text.as_bytes()).map_err(|error| (format!("{file}: {error}"), give()))?;
    let mut all: Vec<Wanted> = Vec::new();
    for object in objects.into_iter().filter(|object| !object.is_null()) {
        if object["kind"] != names::KIND {
            let kind = object["kind"].as_str().unwrap_or("an object without a kind");
            let name =
                object["metadata"]["name"].as_str().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            return Err((
                format!("{file}: has {kind}{name}; only fleets are applied"),
                format!(
                    "apply all of it: kubectl apply --server-side -f {file}; then follow: kubectl rayfleet rollout status FLEET"
                ),
            ));
        }
        let wanted = fleet(object, namespace).map_err(|problem| (format!("{file}: {problem}"), give()))?;
        if all.iter().any(|other| (&other.namespace, &other.name) == (&wanted.namespace, &wanted.name)) {
            return Err((
                format!("{file}: has fleet \"{}\" twice", wanted.name),
                "remove one of the two".to_owned(),
            ));
        }
        all.push(wanted);
    }
    match all.len() {
        0 => Err((format!("{file}: has no {}", names::KIND), give())),
        count if count > MOST => Err((format!("{file}: has more than {MOST} fleets"), "split it".to_owned())),
        _ => Ok(all),
    }
}

fn fleet(mut object: Value, namespace: &str) -> Result<Wanted, String> {
    let version = format!("{}/{}", names::GROUP, names::VERSION);
    if object["apiVersion"] != version.as_str() {
        return Err(format!("the fleet's apiVersion is {}, not {version}", object["apiVersion"]));
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err("a fleet has no metadata.name".to_owned());
    }
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
    object["metadata"]["namespace"] = Value::from(namespace.clone());
    Ok(Wanted { namespace, name, object })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str =
        "apiVersion: orchestration.aibrix.ai/v1alpha1\nkind: RayClusterFleet\nmetadata: {name: llama";

    fn named(text: &str) -> Result<Vec<String>, String> {
        let found =
            fleets(text, "f.yaml", "serving").map_err(|(problem, cure)| format!("{problem}\n  {cure}"))?;
        Ok(found.into_iter().map(|wanted| format!("{}/{}", wanted.namespace, wanted.name)).collect())
    }

    #[test]
    fn every_fleet_is_found_in_its_namespace() {
        let two = format!("---\n{FLEET}}}\n---\n{FLEET}, namespace: other}}\n---\n");
        assert_eq!(named(&two).unwrap(), ["serving/llama", "other/llama"]);
        let list = "kind: List\nitems:\n- {apiVersion: orchestration.aibrix.ai/v1alpha1, kind: RayClusterFleet, metadata: {name: a}}\n";
        assert_eq!(named(list).unwrap(), ["serving/a"]);
    }

    #[test]
    fn numbers_are_those_that_kubectl_sends() {
        let text = format!(
            "{FLEET}, labels: {{sha: 12e4567}}}}\nspec: {{replicas: 2, modes: [0400, 0644, 0o17, 08, 1_000, 1e3, 0.5]}}\n"
        );
        let object = fleets(&text, "f.yaml", "serving").unwrap().remove(0).object;
        assert_eq!(object["spec"].to_string(), r#"{"modes":[256,420,15,8,1000,1000,0.5],"replicas":2}"#);
        assert_eq!(object["metadata"]["labels"]["sha"], "12e4567");
        assert!(named(&format!("{FLEET}, name: b}}\n")).unwrap_err().contains("f.yaml: "), "a key twice");
    }

    #[test]
    fn what_is_not_a_manifest_of_fleets_is_refused_as_a_whole() {
        let service = format!("{FLEET}}}\n---\nkind: Service\nmetadata: {{name: web}}\n");
        let twice = format!("{FLEET}}}\n---\n{FLEET}, namespace: serving}}\n");
        let nameless = "apiVersion: orchestration.aibrix.ai/v1alpha1\nkind: RayClusterFleet\n".to_owned();
        let other =
            "apiVersion: orchestration.aibrix.ai/v1\nkind: RayClusterFleet\nmetadata: {name: a}\n".to_owned();
        let faults = [service, twice, nameless, other, String::new(), "[".to_owned(), "7".to_owned()];
        let faults: Vec<String> = faults.iter().map(|text| named(text).unwrap_err()).collect();
        insta::assert_snapshot!(faults.join("\n"));
    }
}
