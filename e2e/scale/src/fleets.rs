//! The fleets that are made, all of one manifest.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind, TypeMeta};
use kube::{Api, Client, discovery};
use serde_json::{Value, json};

use crate::rollout::{self, Rollout};

/// Namespace of all that is made.
pub(crate) const NAMESPACE: &str = "default";
/// Creations at a time.
const TOGETHER: usize = 8;

/// A manifest, what is set in each object of it, and access to its kind.
pub(crate) struct Fleets {
    manifest: Manifest,
    pub(crate) api: Api<DynamicObject>,
}

struct Manifest {
    text: String,
    groups: Option<u16>,
    rollout: Option<Rollout>,
}

/// Name of the fleet of this number. It is one word: names of its pods begin with it and a `-`.
pub(crate) fn name(number: u32) -> String {
    format!("f{number:04}")
}

impl Fleets {
    /// Of the manifest in a file, with so many groups each and this strategy, where they are given.
    pub(crate) async fn read(
        client: Client,
        path: &Path,
        groups: Option<u16>,
        rollout: Option<Rollout>,
    ) -> anyhow::Result<Self> {
        let file = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(file)?;
        ensure!(text.contains("NAME"), "{} has no NAME, so all fleets would be the same", file());
        let manifest = Manifest { text, groups, rollout };
        if rollout.is_some() {
            manifest.upgraded("x").with_context(file)?;
        }
        let kind = kind(&manifest.value("x").with_context(file)?).with_context(file)?;
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
            let object = self.manifest.object(name);
            let (name, params) = (name.clone(), &params);
            async move {
                self.api.create(params, &object?).await.map(drop).with_context(|| format!("create {name}"))
            }
        };
        stream::iter(names).map(create).buffer_unordered(TOGETHER).try_collect().await
    }

    /// Deletes one.
    pub(crate) async fn delete(&self, name: &str) -> anyhow::Result<()> {
        let deleted = self.api.delete(name, &DeleteParams::default()).await;
        deleted.map(drop).with_context(|| format!("delete {name}"))
    }

    /// Changes the pod templates of one: a merge patch of its `spec`, which leaves alone what others have set beside it.
    pub(crate) async fn upgrade(&self, name: &str) -> anyhow::Result<()> {
        let patch = json!({"spec": self.manifest.upgraded(name)?["spec"]});
        let patched = self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).with_context(|| format!("change the template of {name}"))
    }
}

impl Manifest {
    fn value(&self, name: &str) -> anyhow::Result<Value> {
        let mut object: Value = serde_saphyr::from_str(&self.text.replace("NAME", name))?;
        if let Some(groups) = self.groups {
            rollout::set_groups(&mut object, groups)?;
        }
        if let Some(rollout) = self.rollout {
            rollout.enter(&mut object);
        }
        Ok(object)
    }

    fn object(&self, name: &str) -> anyhow::Result<DynamicObject> {
        Ok(serde_json::from_value(self.value(name)?)?)
    }

    fn upgraded(&self, name: &str) -> anyhow::Result<Value> {
        let mut object = self.value(name)?;
        rollout::mark_templates(&mut object)?;
        Ok(object)
    }
}

fn kind(object: &Value) -> anyhow::Result<GroupVersionKind> {
    let types: TypeMeta = serde_json::from_value(object.clone()).context("no apiVersion and kind")?;
    Ok(GroupVersionKind::try_from(types)?)
}
