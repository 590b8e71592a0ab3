//! What is the same for all fleets of a site: the profile file and `--set`. Reading only.

use std::path::Path;

use rayfleet_cli_kit::{CliError, input};
use serde::de::DeserializeOwned;

use super::site::Site;
use super::{near, site_check};

/// Largest profile that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// All keys, as a reader may write them.
const KEYS: [&str; 19] = [
    "image",
    "registry",
    "imagePullSecrets",
    "rayVersion",
    "claim",
    "storageClass",
    "storageBandwidth",
    "modelPath",
    "networkInterface",
    "rdmaResource",
    "rdmaCount",
    "cpuPerGpu",
    "memoryPerGpu",
    "env",
    "serviceAccount",
    "tolerations",
    "nodeSelector",
    "labels",
    "topologyKey",
];

/// What helps where a profile cannot be used.
const CURE: &str = "see docs/operations.md#a-profile-of-your-site for the keys and what they mean";

impl Site {
    /// The profile, and over it what is set on the command line.
    pub(super) fn read(file: Option<&Path>, set: &[String]) -> Result<Self, CliError> {
        let mut site = match file {
            Some(file) => Self::of_file(file)?,
            None => Self::default(),
        };
        for entry in set {
            site.set(entry)?;
        }
        site_check::check(&site).map_err(|problem| CliError::usage(problem, CURE))?;
        Ok(site)
    }

    fn of_file(file: &Path) -> Result<Self, CliError> {
        let shown = file.display();
        let text = input::read(file, LARGEST).map_err(|error| {
            CliError::usage(format!("cannot read {shown}: {error}"), "give a profile with --profile")
        })?;
        // An empty file says nothing, as a file of comments does.
        let site: Option<Self> = serde_saphyr::from_str(&text)
            .map_err(|error| CliError::usage(format!("{shown}: {}", first_line(&error.to_string())), CURE))?;
        Ok(site.unwrap_or_default())
    }

    /// One `KEY=VALUE`: text as it is, lists and maps as YAML, a single label as `labels.team=ml`.
    fn set(&mut self, entry: &str) -> Result<(), CliError> {
        let Some((key, text)) = entry.split_once('=') else {
            return Err(CliError::usage(format!("--set {entry}: has no ="), "write it as --set KEY=VALUE"));
        };
        self.set_key(key, text).map_err(|problem| CliError::usage(format!("--set {key}: {problem}"), CURE))
    }

    fn set_key(&mut self, key: &str, text: &str) -> Result<(), String> {
        let word = Some(text.to_owned());
        if let Some((map, name)) = key.split_once('.') {
            let map = match map {
                "env" => &mut self.env,
                "labels" => &mut self.labels,
                "nodeSelector" => &mut self.node_selector,
                _ => return Err(unknown(key)),
            };
            map.insert(name.to_owned(), text.to_owned());
            return Ok(());
        }
        match key {
            // What is set replaces what the profile says in the other way.
            "image" => (self.image, self.registry) = (word, None),
            "registry" => (self.image, self.registry) = (None, word),
            "imagePullSecrets" => self.image_pull_secrets = yaml(text)?,
            "rayVersion" => self.ray_version = word,
            "claim" => self.claim = word,
            "storageClass" => self.storage_class = word,
            "storageBandwidth" => self.storage_bandwidth = word,
            "modelPath" => self.model_path = word,
            "networkInterface" => self.network_interface = word,
            "rdmaResource" => self.rdma_resource = word,
            "rdmaCount" => self.rdma_count = Some(yaml(text)?),
            "cpuPerGpu" => self.cpu_per_gpu = word,
            "memoryPerGpu" => self.memory_per_gpu = word,
            "env" => self.env = yaml(text)?,
            "serviceAccount" => self.service_account = word,
            "tolerations" => self.tolerations = yaml(text)?,
            "nodeSelector" => self.node_selector = yaml(text)?,
            "labels" => self.labels = yaml(text)?,
            "topologyKey" => self.topology_key = word,
            _ => return Err(unknown(key)),
        }
        Ok(())
    }
}

fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| first_line(&error.to_string()))
}

/// An error of the parser without the excerpt that it draws.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn unknown(key: &str) -> String {
    let hint = near::hint(key, KEYS);
    if hint.is_empty() {
        format!("no such key; known are {}", KEYS.join(", "))
    } else {
        format!("no such key{hint}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The site of a profile's text.
    fn of(text: &str) -> Result<Site, CliError> {
        let file = std::env::temp_dir().join(format!("rayfleet-profile-{}-{:p}", std::process::id(), text));
        std::fs::write(&file, text).unwrap();
        let site = Site::read(Some(&file), &[]);
        std::fs::remove_file(&file).unwrap();
        site
    }

    #[test]
    fn the_example_says_every_key() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/profiles/site.yaml");
        let site = Site::read(Some(&file), &[]).unwrap();
        assert_eq!(site.tolerations[0].value.as_deref(), Some("models"));
        let text = std::fs::read_to_string(file).unwrap();
        let operations = include_str!("../../../../docs/operations.md");
        for key in KEYS {
            assert!(
                key == "registry" || text.lines().any(|line| line.starts_with(&format!("{key}:"))),
                "{key}"
            );
            assert!(operations.contains(&format!("| `{key}` |")), "{key} is not in docs/operations.md");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let fault = of("image: a\nclam: b\n").unwrap_err();
        assert!(fault.message.contains("clam") && fault.message.contains("line 2"), "{fault}");
        assert_eq!((fault.code(), fault.cure.as_deref()), (2, Some(CURE)));
        let fault = of("tolerations:\n- {kye: a}\n").unwrap_err();
        assert!(fault.message.contains("kye"), "{fault}");
    }

    #[test]
    fn an_empty_profile_says_nothing() {
        for text in ["", "# nothing\n"] {
            assert_eq!(of(text).unwrap(), Site::default());
        }
    }

    #[test]
    fn what_is_set_is_over_the_profile() {
        let set = |entries: &[&str]| {
            let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
            Site::read(None, &entries)
        };
        let site = set(&[
            "image=a",
            "registry=b",
            "rayVersion=2.60",
            "labels={a: b}",
            "labels.x.y/z=t=u",
            "rdmaResource=r/r",
        ]);
        assert!(site.unwrap_err().message.contains("labels: `x.y/z: t=u`"));
        let site = set(&[
            "image=a",
            "registry=b",
            "rayVersion=2.60",
            "labels={a: b}",
            "labels.x.y/z=t",
            "rdmaResource=r/r",
        ])
        .unwrap();
        assert_eq!((site.image, site.registry.as_deref()), (None, Some("b")));
        assert_eq!((site.ray_version.as_deref(), site.labels.len()), (Some("2.60"), 2));
        assert_eq!(site.labels.get("x.y/z").map(String::as_str), Some("t"));
        let site = set(&["registry=b", "image=a"]).unwrap();
        assert_eq!((site.image.as_deref(), site.registry), (Some("a"), None));
        for (key, value) in KEYS.iter().zip([
            "a",
            "b",
            "[a]",
            "2.60",
            "c",
            "d",
            "1GB",
            "/m",
            "e",
            "f/g",
            "2",
            "500m",
            "3Gi",
            "{G: h}",
            "i",
            "[{key: a}]",
            "{a: b}",
            "{c: d}",
            "j",
        ]) {
            let mut site = Site { rdma_resource: Some("r/r".to_owned()), ..Site::default() };
            site.set_key(key, value).unwrap();
            assert_ne!(site, Site { rdma_resource: Some("r/r".to_owned()), ..Site::default() }, "{key}");
            site_check::check(&site).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, words) in [
            ("{image: a, registry: b}", "name one of them"),
            ("rdmaCount: 1", "Name the rdmaResource"),
            ("{rdmaCount: 0, rdmaResource: a/b}", "above 0"),
            ("rdmaResource: 'a/b/c{,}'", "rdmaResource: `a/b/c{,}`"),
            ("rdmaResource: nvidia.com/gpu", "are the GPUs"),
            ("image: ''", "image: ``"),
            ("registry: ''", "registry: ``"),
            ("rayVersion: abc", "rayVersion: `abc`"),
            ("networkInterface: ''", "networkInterface: ``"),
            ("modelPath: /dev/shm/models", "modelPath: `/dev/shm/models`"),
            ("tolerations: [{key: a, operator: Exist}]", "tolerations[0]: operator `Exist`"),
            (
                "tolerations: [{key: a, operator: Exists}, {key: a, effect: Never}]",
                "tolerations[1]: effect `Never`",
            ),
            ("tolerations: [{key: a, operator: Exists, value: b}]", "with Exists there is none"),
            ("tolerations: [{value: b}]", "without a key"),
            ("tolerations: [{key: a b, operator: Exists}]", "is no taint"),
            ("tolerations: [{key: a, tolerationSeconds: 1}]", "only with the effect NoExecute"),
            ("modelPath: models", "modelPath"),
            ("storageBandwidth: fast", "storageBandwidth"),
            ("cpuPerGpu: many", "cpuPerGpu: `many`"),
            ("memoryPerGpu: 1", "memoryPerGpu: `1`"),
            ("env: {'A B': c}", "env: `A B`"),
            ("env: {'': c}", "env: ``"),
            ("env: {1A: c}", "env: `1A`"),
            ("nodeSelector: {'a b': c}", "nodeSelector"),
            ("topologyKey: '-'", "topologyKey"),
            ("claim: A", "claim"),
            ("imagePullSecrets: ['']", "imagePullSecrets"),
        ] {
            let message = of(text).unwrap_err().message;
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}
