//! Bad input: refused on apply, or reported within seconds with object, field and cure; never a hot loop,
//! never a group left behind.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use rayfleet_api::status::Goal;
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::diagnosis::{Cause, Diagnosis};
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::overhead::writes;
use rayfleet_e2e::cluster::warnings::warnings;
use rayfleet_e2e::cluster::{call, ray_cluster_resource, ready, until};
use rayfleet_e2e::examples;
use serde_json::{Value, json};

use crate::light;
use crate::suite::Suite;

/// The CRD refuses the fleet, and names the field.
pub(crate) async fn refused(suite: &Suite) -> anyhow::Result<()> {
    let rolling = "/spec/strategy/rollingUpdate";
    let head = "/spec/template/spec/headGroupSpec/rayStartParams";
    let cases: [(&str, Value, &[&str]); 26] = [
        ("/spec/selector/matchLabels", json!({"app": "other"}), &["selector", "template.metadata.labels"]),
        ("/spec/model/parallelism", json!({"tensor": 2, "pipeline": 2}), &["model.parallelism", "GPUs"]),
        ("/spec/model/engine", json!({"type": "custom"}), &["model.engine", "entrypoint"]),
        ("/spec/template", json!({}), &["spec.template.spec", "Required"]),
        ("/spec/template/spec/headGroupSpec/template/spec/containers", json!([]), &["containers"]),
        ("/spec/replicas", json!(-1), &["spec.replicas"]),
        ("/spec/drain", json!({"timeout": "soon"}), &["drain.timeout"]),
        ("/spec/drain", json!({"timeout": "99999999999999999999h"}), &["drain.timeout"]),
        ("/spec/drain", json!({"timeout": "721h"}), &["drain.timeout", "720h"]),
        ("/spec/failurePolicy", json!({"hungAfter": "0s"}), &["hungAfter", "1s to 720h"]),
        (
            "/spec/failurePolicy",
            json!({"backoff": {"initial": "0s", "max": "0s"}}),
            &["backoff.initial", "1s to 720h"],
        ),
        (
            "/spec/failurePolicy",
            json!({"backoff": {"initial": "2m", "max": "1m"}}),
            &["backoff", "above max"],
        ),
        (rolling, json!({"maxSurge": "4294967295%"}), &["maxSurge"]),
        (rolling, json!({"maxSurge": "abc"}), &["maxSurge"]),
        (rolling, json!({"maxUnavailable": -1}), &["maxUnavailable"]),
        (rolling, json!({"partition": -1}), &["partition"]),
        ("/spec/model/port", json!(8265), &["model.port", "Ray's own"]),
        ("/spec/model/port", json!(12_000), &["model.port", "gives to its workers"]),
        ("/spec/model/engine/env", json!([{"name": "A"}, {"name": "A"}]), &["engine.env", "uplicate"]),
        ("/spec/model/engine/args", json!(["--port=9000"]), &["engine.args", "model.port"]),
        ("/spec/model/engine/args", json!(["--port", "9000"]), &["engine.args", "model.port"]),
        (head, json!({"dashboard-host": "127.0.0.1"}), &["rayStartParams", "dashboard-host"]),
        (
            "/spec/template/spec/authOptions",
            json!({"mode": "token", "enableK8sTokenAuth": true}),
            &["enableK8sTokenAuth"],
        ),
        (
            "/spec/template/spec/workerGroupSpecs/0/numOfHosts",
            json!(10_000),
            &["workerGroupSpecs", "2048 pods"],
        ),
        ("/spec/replcas", json!(2), &["replcas"]),
        (
            "/metadata/name",
            json!("light-with-a-name-that-is-much-too-long"),
            &["metadata.name", "37 characters"],
        ),
    ];
    for (pointer, value, words) in cases {
        let manifest = light::manifest()?.with(pointer, value.clone())?;
        let fleet = suite.fleet(manifest.name()?);
        let refusal = fleet.refusal(&manifest).await?;
        let refusal = refusal.with_context(|| format!("{pointer} = {value} was not refused"))?;
        for word in words {
            ensure!(refusal.contains(word), "{pointer} = {value}: `{word}` is not in: {refusal}");
        }
    }
    selector_is_fixed(suite).await
}

async fn selector_is_fixed(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::manifest()?.named("fixed").with("/spec/replicas", json!(0))?;
    let fleet = suite.fleet("fixed");
    fleet.apply(&manifest).await?;
    let labels = json!({"app": "other"});
    let other = manifest
        .with("/spec/selector/matchLabels", labels.clone())?
        .with("/spec/template/metadata/labels", labels)?;
    let refusal = fleet.refusal(&other).await?.context("another selector was not refused")?;
    ensure!(refusal.contains("selector cannot be changed"), "{refusal}");
    fleet.delete(Duration::from_mins(1)).await?;
    suite.nothing_left().await
}

/// The examples for users are accepted by our CRD and, as RayClusters, by KubeRay's.
pub(crate) async fn examples(suite: &Suite) -> anyhow::Result<()> {
    let cluster = &suite.cluster;
    let rays: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ray_cluster_resource());
    for file in examples::files()? {
        let manifest = Manifest::read(&file)?;
        let name = manifest.name()?;
        if let Some(refusal) = suite.fleet(name).refusal(&manifest).await? {
            bail!("{}: {refusal}", file.display());
        }
        let spec = &manifest.fleet["spec"]["template"]["spec"];
        let ray = json!({"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("rayfleet-e2e").force().dry_run().validation_strict();
        let what = format!("{}: KubeRay's CRD", file.display());
        call(&what, rays.patch(name, &params, &Patch::Apply(&ray))).await?;
    }
    Ok(())
}

/// A fleet that cannot work, and the words that its report must contain in time.
struct Hopeless {
    name: &'static str,
    manifest: Manifest,
    words: &'static [&'static str],
    within: Duration,
    /// What `kubectl rayfleet diagnose` must say first of all.
    diagnosis: Cause,
}

const ABSENT_MODEL: &str = "/var/lib/rayfleet-local/models/absent";
const CONTAINER: &str = "/spec/template/spec/headGroupSpec/template/spec/containers/0";

fn hopeless() -> anyhow::Result<Vec<Hopeless>> {
    let one = |name: &'static str| light::manifest()?.named(name).with("/spec/replicas", json!(1));
    let soon = Duration::from_secs(20);
    let image = one("no-image")?.with(&format!("{CONTAINER}/image"), json!("rayfleet.local/absent:1"))?;
    let gpus = json!({"requests": {"nvidia.com/gpu": "64"}, "limits": {"nvidia.com/gpu": "64"}});
    let crowded = one("no-gpus")?
        .with(&format!("{CONTAINER}/resources"), gpus)?
        .with("/spec/model/parallelism", json!({"tensor": 1, "pipeline": 65}))?;
    let template =
        one("bad-template")?.with("/spec/template/spec/workerGroupSpecs/0/scaleStrategy", json!("none"))?;
    let misspelt = one("misspelt")?.with(&format!("{CONTAINER}/comand"), json!(["sleep"]))?;
    let tpu = json!({"limits": {"google.com/tpu": "8"}});
    let tpu = one("tpu")?.with(&format!("{CONTAINER}/resources"), tpu)?;
    let args = one("bad-args")?.with("/spec/model/engine/args", json!(["--por", "1"]))?;
    let model = one("no-model")?.with("/spec/model/source", json!(ABSENT_MODEL))?;
    let case =
        |name, manifest, words, within, diagnosis| Hopeless { name, manifest, words, within, diagnosis };
    Ok(vec![
        case(
            "no-image",
            image,
            &["rayfleet.local/absent:1", "pod no-image-", "check the template's image"],
            soon * 2,
            &[("Pods", "image rayfleet.local/absent:1 cannot be pulled")],
        ),
        case(
            "no-gpus",
            crowded,
            &["64 nvidia.com/gpu", "pod no-gpus-", "no node has room"],
            soon,
            &[("Pods", "no node has room for the pods")],
        ),
        case(
            "bad-template",
            template,
            &["spec.template.spec", "scaleStrategy", "correct the template"],
            soon,
            &[("Spec", "KubeRay's CRD refuses the spec")],
        ),
        case(
            "misspelt",
            misspelt,
            &["spec.template.spec", "containers[0].comand", "correct the template"],
            soon,
            &[("Spec", "KubeRay's CRD refuses the spec")],
        ),
        case(
            "tpu",
            tpu,
            &["headGroupSpec", "google.com/tpu", "leave out spec.model"],
            soon,
            &[("Spec", "Rayfleet refuses the spec")],
        ),
        case(
            "bad-args",
            args,
            &["spec.model.engine.args", "--por", "set the port of the model"],
            soon,
            &[("Spec", "Rayfleet refuses the spec")],
        ),
        // Ray must be up before the model can be looked up.
        case(
            "no-model",
            model,
            &[ABSENT_MODEL, "group no-model-", "correct the path"],
            soon * 5,
            &[("Engine", "JobEnded"), ("Engine", "EngineDied")],
        ),
    ])
}

/// Period in which the writes for fleets that cannot work are counted.
const WINDOW: Duration = Duration::from_secs(20);
/// Most writes of the orchestrator in that period, for all of these fleets together. A group whose engine
/// fails causes a few writes per attempt, and attempts back off.
const MOST_WRITES: f64 = 50.0;

pub(crate) async fn explained(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let cases = hopeless()?;
    let diagnosed = Diagnosis::begin(&suite.tools);
    try_join_all(cases.iter().map(|case| reported(suite, case, &diagnosed))).await?;
    drop(diagnosed);
    let before = writes(&suite.cluster).await?;
    tokio::time::sleep(WINDOW).await;
    let count = writes(&suite.cluster).await? - before;
    suite.console.say(format_args!(
        "{count} writes in {} s for {} hopeless fleets",
        WINDOW.as_secs(),
        cases.len()
    ));
    ensure!(count <= MOST_WRITES, "{count} writes in {} s: a hot loop", WINDOW.as_secs());
    for case in &cases {
        let fleet = suite.fleet(case.name).get().await?;
        // A group that has used up its restarts may still be terminating while its successor waits.
        let stay = ready::groups(&fleet).iter().filter(|group| group.goal != Goal::Retire).count();
        ensure!(stay <= 1, "{} has more groups than it asks for", case.name);
    }
    suite.clear().await
}

async fn reported(suite: &Suite, case: &Hopeless, diagnosed: &Diagnosis) -> anyhow::Result<()> {
    let fleet = suite.fleet(case.name);
    let start = clock::instant();
    fleet.apply(&case.manifest).await?;
    let mut words = String::new();
    let waited = until("the cause to be reported", case.within, async || {
        words = everything_reported(&fleet).await?;
        Ok(case.words.iter().all(|word| words.contains(word)).then_some(()))
    })
    .await;
    waited.with_context(|| {
        let missing: Vec<_> = case.words.iter().filter(|word| !words.contains(**word)).collect();
        format!("{} does not report {missing:?} in:\n{words}", case.name)
    })?;
    suite.console.say(format_args!(
        "{} reported its cause after {:.1} s",
        case.name,
        clock::seconds_since(start)
    ));
    let said = diagnosed.named(case.name, case.diagnosis, case.within).await.context(case.name)?;
    suite.console.say(said.row(case.name));
    Ok(())
}

/// Conditions, groups and warnings of a fleet: what its user can see.
async fn everything_reported(fleet: &Fleet) -> anyhow::Result<String> {
    let mut words = ready::words(&fleet.get().await?);
    for warning in warnings(fleet).await? {
        words.push_str("\nevent ");
        words.push_str(&warning.message);
    }
    Ok(words)
}
