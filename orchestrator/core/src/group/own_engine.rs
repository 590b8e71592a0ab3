//! Compatibility mode: the template's own command runs the engine. Rayfleet judges when the group may take
//! traffic; starting and restarting engines is left to the containers.

use rayfleet_api::names;
use rayfleet_api::status::Phase;
use serde_json::Value;

use super::context::StepContext;
use super::ray::{self, Ray};
use super::{formation_timeout, readiness};
use crate::observed::ObservedEngine;

pub(super) fn bring_up(ctx: &mut StepContext<'_>) {
    let Ray::Alive(alive) = ray::ray(ctx) else { return };
    // Of an older template what its pods were made with counts: the labels may have changed since.
    let older = ctx.fleet.model.is_some() || ctx.group.revision != ctx.fleet.revision.pod;
    let own = ctx.observed.cluster.as_ref().filter(|_| older).and_then(|cluster| cluster.own_port);
    let engine = &alive.engine;
    let Some(port) = own.or(ctx.fleet.own_engine_port) else {
        ready(ctx, engine);
        return;
    };
    if engine.healthy {
        ready(ctx, engine);
        return;
    }
    // Silence of a few seconds is borne, an answer that says "ill" is not.
    if ctx.group.phase == Phase::Ready && !engine.answering && !ray::silent_too_long(ctx) {
        return;
    }
    let answer = if engine.answering { "is not healthy" } else { "does not answer" };
    let cure = if waits_for_ray(&ctx.fleet.template.spec) {
        "its command goes on only when Ray has ended, as KubeRay always starts Ray with --block: put & in the place of what is behind \
         $KUBERAY_GEN_RAY_START_CMD"
            .to_owned()
    } else {
        format!(
            "label the head's pods with {} if it has another one, annotate the fleet with {}=none if it has none",
            names::LABEL_MODEL_PORT,
            names::ANNOTATION_ENGINE_PORT
        )
    };
    let message = format!("the template's engine {answer} on port {port}: {cure}");
    readiness::fall_back(ctx, Phase::Loading, message.clone());
    ctx.group.unreachable_since = None;
    // How long a first start may take is known to its containers alone.
    if ctx.group.not_ready_since.is_some() {
        formation_timeout::over(ctx, &message);
    }
}

fn ready(ctx: &mut StepContext<'_>, engine: &ObservedEngine) {
    let unverified = readiness::unverified(engine, "Ray nodes");
    readiness::ready(ctx, unverified);
}

/// Whether the head's command comes to its engine only after Ray: AIBrix's own KubeRay heeds `block: "false"`, no released one does.
fn waits_for_ray(spec: &Value) -> bool {
    let container = &spec["headGroupSpec"]["template"]["spec"]["containers"][0];
    let words = ["command", "args"].into_iter().filter_map(|field| container[field].as_array()).flatten();
    words.filter_map(Value::as_str).any(|script| {
        let behind = script.split("KUBERAY_GEN_RAY_START_CMD").nth(1).unwrap_or_default();
        let behind = behind.trim_start_matches(['}', '"', ' ']);
        let next = behind.strip_prefix("&&").or_else(|| behind.strip_prefix(';'));
        next.is_some_and(|next| !next.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_that_waits_for_ray_never_comes_to_its_engine() {
        let waits = |script: &str| {
            let container = json!({"command": ["/bin/bash", "-c", "--"], "args": [script]});
            waits_for_ray(&json!({"headGroupSpec": {"template": {"spec": {"containers": [container]}}}}))
        };
        assert!(waits("ulimit -n 65536; $KUBERAY_GEN_RAY_START_CMD; vllm serve m"));
        assert!(waits("eval \"${KUBERAY_GEN_RAY_START_CMD}\" && vllm serve m"));
        assert!(!waits("eval \"$KUBERAY_GEN_RAY_START_CMD\" & exec vllm serve m"));
        assert!(!waits("eval \"$KUBERAY_GEN_RAY_START_CMD\" &\nvllm serve m"));
        assert!(!waits("ulimit -n 65536; $KUBERAY_GEN_RAY_START_CMD;"));
        assert!(!waits("ray start --head; vllm serve m"));
        assert!(!waits_for_ray(&json!({})));
    }
}
