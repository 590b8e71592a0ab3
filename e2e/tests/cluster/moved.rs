//! Migration from AIBrix on a real control plane: the objects that its controllers leave, under a CRD with
//! their name and shape, and Rayfleet adopting the groups while their pods keep running.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::{call, ray_cluster_resource, until};
use rayfleet_e2e::examples;
use serde_json::{Value, json};

use crate::light::BRING_UP;
use crate::suite::Suite;

const NAME: &str = "moved";
const SET: &str = "moved-bcdfgh";
const CLUSTER: &str = "moved-bcdfgh-x7k2p";
const SOON: Duration = Duration::from_secs(30);

/// AIBrix's CRD, as far as its objects use it here.
fn crd() -> anyhow::Result<CustomResourceDefinition> {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let spec = json!({"type": "object", "properties": {
        "replicas": {"type": "integer", "format": "int32", "default": 1},
        "minReadySeconds": {"type": "integer", "format": "int32"},
        "selector": any, "template": any
    }});
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "rayclusterreplicasets.orchestration.aibrix.ai"},
        "spec": {
            "group": names::GROUP, "scope": "Namespaced",
            "names": {"kind": "RayClusterReplicaSet", "listKind": "RayClusterReplicaSetList", "plural": "rayclusterreplicasets", "singular": "rayclusterreplicaset"},
            "versions": [{
                "name": names::VERSION, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": any}}}
            }]
        }
    }))?)
}

fn sets() -> ApiResource {
    ApiResource {
        group: names::GROUP.to_owned(),
        version: names::VERSION.to_owned(),
        api_version: format!("{}/{}", names::GROUP, names::VERSION),
        kind: "RayClusterReplicaSet".to_owned(),
        plural: "rayclusterreplicasets".to_owned(),
    }
}

/// The template as AIBrix's controller copies it: with its labels, and with the fields that Go serializes.
fn copied(fleet: &RayClusterFleet) -> Value {
    let mut template = json!(fleet.spec.template);
    template["metadata"]["labels"]["pod-template-hash"] = json!("bcdfgh");
    let spec = &mut template["spec"];
    let mark = |group: &mut Value| {
        group["template"]["metadata"]["labels"][names::LABEL_FLEET] = json!(NAME);
        for port in group["template"]["spec"]["containers"][0]["ports"].as_array_mut().into_iter().flatten() {
            port["protocol"] = json!("TCP");
        }
    };
    mark(&mut spec["headGroupSpec"]);
    for workers in spec["workerGroupSpecs"].as_array_mut().into_iter().flatten() {
        mark(workers);
        workers["numOfHosts"] = json!(1);
        workers["scaleStrategy"] = json!({});
    }
    template
}

fn owned(name: &str, template: &Value, kind: &str, owner: &str, uid: Option<&String>) -> Value {
    json!({
        "name": name, "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
        "ownerReferences": [{
            "apiVersion": format!("{}/{}", names::GROUP, names::VERSION), "kind": kind, "name": owner, "uid": uid,
            "controller": true, "blockOwnerDeletion": true
        }]
    })
}

pub(crate) async fn taken_over(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let (client, namespace) = (suite.cluster.client.clone(), &suite.cluster.namespace);
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = crd()?;
    let name = crd.metadata.name.clone().unwrap_or_default();
    let apply = PatchParams::apply("rayfleet-e2e").force();
    call("apply AIBrix's CRD", crds.patch(&name, &apply, &Patch::Apply(&crd))).await?;
    let outcome = moved(suite, client.clone(), namespace).await;
    call("delete AIBrix's CRD", crds.delete(&name, &DeleteParams::default())).await?;
    outcome?;
    suite.nothing_left().await
}

async fn moved(suite: &Suite, client: kube::Client, namespace: &str) -> anyhow::Result<()> {
    // With zero replicas, Rayfleet creates no groups before AIBrix's exist.
    let manifest = examples::read("aibrix-compatible.yaml")?.named(NAME).with("/spec/replicas", json!(0))?;
    let fleet = suite.fleet(NAME);
    fleet.apply(&manifest).await?;
    let asked = fleet.get().await?;
    let template = copied(&asked);
    let set_api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &sets());
    let clusters: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ray_cluster_resource());
    let set = json!({
        "apiVersion": format!("{}/{}", names::GROUP, names::VERSION), "kind": "RayClusterReplicaSet",
        "metadata": owned(SET, &template, names::KIND, NAME, asked.metadata.uid.as_ref()),
        "spec": {"replicas": 1, "template": template}
    });
    let set: DynamicObject = serde_json::from_value(set)?;
    let set = until("the RayClusterReplicaSet to be accepted", SOON, async || {
        Ok(Some(call("create the RayClusterReplicaSet", set_api.create(&PostParams::default(), &set)).await?))
    })
    .await?;
    let cluster = json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": owned(CLUSTER, &template, "RayClusterReplicaSet", SET, set.metadata.uid.as_ref()),
        "spec": template["spec"]
    });
    let cluster: DynamicObject = serde_json::from_value(cluster)?;
    let cluster = call("create the RayCluster", clusters.create(&PostParams::default(), &cluster)).await?;
    until("AIBrix's group to be ready", BRING_UP, async || {
        let seen = call("get the RayCluster", clusters.get(CLUSTER)).await?;
        Ok((seen.data["status"]["state"] == "ready").then_some(()))
    })
    .await?;
    let before = uids(&pods(&fleet).await?);
    ensure!(before.len() == 2, "AIBrix's group has {} pods", before.len());

    fleet.scale(1).await?;
    let held = |fleet: &RayClusterFleet| {
        let conditions = fleet.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.reason == "OwnedByAIBrix").then_some(())
    };
    fleet.follow("be held", SOON, |fleet| fleet.and_then(held)).await?;
    let consent = json!({"metadata": {"annotations": {(names::ANNOTATION_TAKE_OVER): "true"}}});
    let merge = PatchParams::default();
    call("annotate the fleet", fleet.api().patch(NAME, &merge, &Patch::Merge(&consent))).await?;
    let taken = fleet.settle(BRING_UP).await?;
    let names: Vec<&str> = groups(&taken).iter().map(|group| group.name.as_str()).collect();
    ensure!(names == [CLUSTER], "the groups are {names:?}");
    ensure!(uids(&pods(&fleet).await?) == before, "pods were replaced or added");
    let there = call("get the RayCluster", clusters.get(CLUSTER)).await?;
    ensure!(there.metadata.uid == cluster.metadata.uid, "the RayCluster was re-created");
    until("the RayClusterReplicaSet to be gone", SOON, async || {
        let set = call("get the RayClusterReplicaSet", set_api.get_opt(SET)).await?;
        Ok(set.is_none().then_some(()))
    })
    .await?;
    fleet.delete(Duration::from_mins(1)).await.context("after the move")
}
