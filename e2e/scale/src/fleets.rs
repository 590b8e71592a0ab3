//! The fleets that are made, all of one manifest.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, Client, discovery};

/// Namespace of all that is made.
const NAMESPACE: &str = "default";
/// Creations at a time.
const TOGETHER: usize = 8;

/// A manifest, and access to its kind.
pub(crate) struct Fleets {
    manifest: String,
    pub(crate) api: Api<DynamicObject>,
}

/// Name of the fleet of this number. It is one word: names of its pods begin with it and a `-`.
pub(crate) fn name(number: u16) -> String {
    format!("f{number:04}")
}

impl Fleets {
    /// Of the manifest in a file.
    pub(crate) async fn read(client: Client, path: &Path) -> anyhow::Result<Self> {
        let file = || path.display().to_string();
        let manifest = fs::read_to_string(path).with_context(file)?;
        ensure!(manifest.contains("NAME"), "{} has no NAME, so all fleets would be the same", file());
        let types = object(&manifest, "x").with_context(file)?.types.context("no kind").with_context(file)?;
        let kind = GroupVersionKind::try_from(types).with_context(file)?;
        let (resource, _) = discovery::pinned_kind(&client, &kind)
            .await
            .with_context(|| format!("the API server does not know {} {}", kind.api_version(), kind.kind))?;
        Ok(Self { manifest, api: Api::namespaced_with(client, NAMESPACE, &resource) })
    }

    /// Makes them; `about` is called before each.
    pub(crate) async fn create(&self, names: &[String], about: impl Fn(&str)) -> anyhow::Result<()> {
        let params = PostParams::default();
        let create = |name: &String| {
            about(name);
            let object = object(&self.manifest, name);
            let (name, params) = (name.clone(), &params);
            async move {
                self.api.create(params, &object?).await.map(drop).with_context(|| format!("create {name}"))
            }
        };
        stream::iter(names).map(create).buffer_unordered(TOGETHER).try_collect().await
    }
}

fn object(manifest: &str, name: &str) -> anyhow::Result<DynamicObject> {
    let object: serde_json::Value = serde_saphyr::from_str(&manifest.replace("NAME", name))?;
    Ok(serde_json::from_value(object)?)
}
