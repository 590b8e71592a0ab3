//! Names from the cluster and the kubeconfig, in a short time or not at all.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::core::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};
use rayfleet_cli_kit::CliError;

use super::names::Names;
use super::words::Typed;
use crate::connect;
use crate::fleets::Fleets;
use crate::global::Global;
use crate::view::Fleet;

/// Who presses a key waits no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// No shell shows more in a useful way; one page of a list.
const MOST: u32 = 500;

/// Contexts of the kubeconfig.
pub(super) fn contexts(global: &Global) -> Vec<String> {
    let read = global.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    read.map_or_else(|_| Vec::new(), |found| found.contexts.into_iter().map(|named| named.name).collect())
}

/// Names of the cluster; none if it does not answer in time or refuses.
pub(super) fn names(kind: Names, typed: &Arc<Typed>) -> Vec<String> {
    let (tell, told) = mpsc::channel();
    let typed = Arc::clone(typed);
    // A thread, because a credential plugin may block; the program's end ends it.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.ok().and_then(|runtime| {
            runtime.block_on(async {
                let fleets = connect::connect(&typed.global).await.ok()?;
                read(kind, typed.fleet.as_deref(), &fleets).await
            })
        });
        // Nobody listens any more if it took too long.
        let _ = tell.send(found);
    });
    told.recv_timeout(PATIENCE).ok().flatten().unwrap_or_default()
}

async fn read(kind: Names, fleet: Option<&str>, fleets: &Fleets) -> Option<Vec<String>> {
    match kind {
        Names::Groups => groups(fleet, fleets).await.ok(),
        Names::Fleets => some(&fleets.api(false)).await,
        Names::Nodes => some::<Node>(&Api::all(fleets.client.clone())).await,
        Names::Namespaces => some::<Namespace>(&Api::all(fleets.client.clone())).await,
        Names::Contexts | Names::Models | Names::Gpus => None,
    }
}

/// The groups of a fleet, or of the fleets of the namespace.
async fn groups(fleet: Option<&str>, fleets: &Fleets) -> Result<Vec<String>, CliError> {
    let found = match fleet {
        Some(name) => vec![fleets.get(name).await?],
        None => fleets.list(false).await?,
    };
    let groups = found.iter().flat_map(|object| Fleet::read(object).groups);
    Ok(groups.map(|group| group.name.to_string()).collect())
}

/// The first names of a list: metadata alone, which is little.
async fn some<K>(api: &Api<K>) -> Option<Vec<String>>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = api.list_metadata(&ListParams::default().limit(MOST)).await.ok()?;
    Some(list.items.iter().map(PartialObjectMeta::name_any).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::simulated::Simulated;

    #[tokio::test]
    async fn fleets_groups_and_namespaces_are_named() {
        let server = Simulated::with([sample::upgrading()]);
        let fleets = server.fleets();
        let asked = |kind, fleet| read(kind, fleet, &fleets);
        assert_eq!(asked(Names::Fleets, None).await.unwrap(), ["llama"]);
        assert!(asked(Names::Namespaces, None).await.unwrap().contains(&"serving".to_owned()));
        for fleet in [None, Some("llama")] {
            let groups = asked(Names::Groups, fleet).await.unwrap();
            assert_eq!(groups, ["llama-bcdfgh-0", "llama-bcdfgh-1"], "{fleet:?}");
        }
        assert!(asked(Names::Groups, Some("other")).await.is_none());
    }

    #[test]
    fn without_a_cluster_nothing_is_said() {
        let global = Global { kubeconfig: Some("/nowhere/at/all".into()), ..Global::default() };
        assert!(contexts(&global).is_empty());
        assert!(names(Names::Fleets, &Arc::new(Typed { global, fleet: None })).is_empty());
    }
}
