//! Manifests: parsing a fleet from YAML, and the small changes that users make.

use std::path::Path;

use anyhow::{Context, bail};
use rayfleet_api::{RayClusterFleet, ValidFleet};
use serde_json::{Value, json};

/// A manifest with one fleet and the other objects that it needs.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The fleet, as written.
    pub fleet: Value,
    /// Other objects, as written.
    pub others: Vec<Value>,
}

impl Manifest {
    /// Reads a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// Reads YAML of one or more documents.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("no YAML")?;
        let is_fleet = |value: &Value| value["kind"] == "RayClusterFleet";
        let (mut fleets, others): (Vec<_>, Vec<_>) =
            documents.into_iter().filter(|value| !value.is_null()).partition(is_fleet);
        match (fleets.pop(), fleets.is_empty()) {
            (Some(fleet), true) => Ok(Self { fleet, others }),
            (None, _) => bail!("there is no RayClusterFleet in it"),
            (Some(_), false) => bail!("there is more than one RayClusterFleet in it"),
        }
    }

    /// The fleet as the API type.
    pub fn typed(&self) -> anyhow::Result<RayClusterFleet> {
        serde_json::from_value(self.fleet.clone()).context("this is no RayClusterFleet")
    }

    /// The validated fleet with defaults.
    pub fn valid(&self) -> anyhow::Result<ValidFleet> {
        ValidFleet::new(&self.typed()?).map_err(|problems| {
            let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", all.join("; "))
        })
    }

    /// Name of the fleet.
    pub fn name(&self) -> anyhow::Result<&str> {
        self.fleet["metadata"]["name"].as_str().context("the fleet has no metadata.name")
    }

    /// The manifest with another fleet name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.fleet["metadata"]["name"] = json!(name);
        self
    }

    /// The manifest with one field changed: a JSON pointer such as `/spec/replicas`, whose last part may be
    /// new.
    pub fn with(mut self, pointer: &str, value: Value) -> anyhow::Result<Self> {
        let (parent, key) = pointer.rsplit_once('/').context("a JSON pointer begins with /")?;
        let parent = self.fleet.pointer_mut(parent).with_context(|| format!("the fleet has no {parent}"))?;
        match parent {
            Value::Object(map) => drop(map.insert(key.to_owned(), value)),
            Value::Array(list) => {
                let index: usize = key.parse().with_context(|| format!("{key} is no index"))?;
                *list.get_mut(index).with_context(|| format!("there is no {pointer}"))? = value;
            }
            _ => bail!("{pointer}: its parent is no object"),
        }
        Ok(self)
    }

    /// The manifest with an additional environment variable in the first container of the head and of all
    /// workers: another template, the same behaviour.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        let spec = &mut self.fleet["spec"]["template"]["spec"];
        let set = |group: &mut Value| {
            let env = &mut group["template"]["spec"]["containers"][0]["env"];
            if !env.is_array() {
                *env = json!([]);
            }
            if let Some(list) = env.as_array_mut() {
                list.retain(|variable| variable["name"] != name);
                list.push(json!({ "name": name, "value": value }));
            }
        };
        set(&mut spec["headGroupSpec"]);
        spec["workerGroupSpecs"].as_array_mut().into_iter().flatten().for_each(set);
        self
    }

    /// The manifest with an engine argument set: `--option value`.
    #[must_use]
    pub fn with_engine_arg(mut self, option: &str, value: &str) -> Self {
        let args = &mut self.fleet["spec"]["model"]["engine"]["args"];
        if !args.is_array() {
            *args = json!([]);
        }
        if let Some(list) = args.as_array_mut() {
            match list.iter().position(|arg| arg == option) {
                Some(at) if at + 1 < list.len() => list[at + 1] = json!(value),
                _ => list.extend([json!(option), json!(value)]),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
kind: Service
metadata: {name: s}
---
kind: RayClusterFleet
metadata: {name: f}
spec:
  template: {spec: {headGroupSpec: {template: {spec: {containers: [{name: ray}]}}}}}
  model: {engine: {args: [--a, '1', --b, '2']}}
";

    #[test]
    fn one_fleet_is_found_among_others() {
        let manifest = Manifest::parse(TEXT).unwrap();
        assert_eq!(manifest.name().unwrap(), "f");
        assert_eq!(manifest.others[0]["kind"], "Service");
        assert!(Manifest::parse("kind: Service").unwrap_err().to_string().contains("no RayClusterFleet"));
    }

    #[test]
    fn a_change_affects_only_its_field() {
        let manifest = Manifest::parse(TEXT).unwrap();
        let args = |manifest: &Manifest| manifest.fleet["spec"]["model"]["engine"]["args"].clone();
        let changed = manifest.clone().with_engine_arg("--b", "3").with_engine_arg("--c", "4");
        assert_eq!(args(&changed), json!(["--a", "1", "--b", "3", "--c", "4"]));
        let env = manifest.clone().with_env("X", "1").with_env("X", "2");
        let container =
            &env.fleet["spec"]["template"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"], json!([{"name": "X", "value": "2"}]));
        assert_eq!(manifest.clone().with("/spec/replicas", json!(3)).unwrap().fleet["spec"]["replicas"], 3);
        assert!(manifest.with("/spec/nothing/there", json!(3)).is_err());
    }
}
