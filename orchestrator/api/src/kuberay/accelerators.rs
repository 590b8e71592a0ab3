//! Which of a pod's devices Ray is told of as `GPU`s, as KubeRay's `addWellKnownAcceleratorResources` and
//! `updateRayStartParamsResources` have it (ray-operator/controllers/ray/common/pod.go), and which it is not.

use serde_json::Value;

use crate::quantity::whole;

/// Devices that Ray counts under a name of their own: (name, or its beginning; what Ray calls it).
pub(crate) const OTHERS: [(&str, &str); 6] = [
    ("google.com/tpu", "TPU"),
    ("aws.amazon.com/neuroncore", "neuron_cores"),
    ("aws.amazon.com/neurondevice", "neuron_cores"),
    ("aws.amazon.com/neuron", "neuron_cores"),
    ("habana.ai/gaudi", "HPU"),
    ("huawei.com/", "NPU"),
];
/// Beginnings of names of GPUs, and parts of such, that KubeRay tells Ray nothing of, unless they are spelled as it expects.
pub(crate) const SLICES: [&str; 3] = ["nvidia.com/", "amd.com/", "gpu.intel.com/"];

/// GPUs that `ray start` is given for a pod of a head or worker group: of the group's own `resources`, else
/// `rayStartParams.num-gpus`, else the first of the Ray container's limits that is a GPU.
///
/// # Errors
/// What cannot be read, with its field below the group and a cure.
pub fn gpus(group: &Value) -> Result<u32, String> {
    let resources = group["resources"].as_object().into_iter().flatten();
    let mut own = resources.filter(|(name, _)| is_gpu(&name.to_lowercase()));
    if let Some((name, value)) = own.next() {
        if let Some((other, _)) = own.next() {
            return Err(format!("resources: `{name}` and `{other}` are both GPUs: name one of them"));
        }
        return count(value)
            .ok_or_else(|| format!("resources[{name}]: {value} is not a number of GPUs: write it as \"8\""));
    }
    let asked = &group["rayStartParams"]["num-gpus"];
    if let Some(text) = asked.as_str() {
        // A shell reads it before Ray does.
        let bare = text.trim_matches(|c: char| c.is_whitespace() || c == '\'' || c == '"');
        return bare.parse().map_err(|_| {
            format!("rayStartParams.num-gpus: `{text}` is not a whole number of GPUs: write it as \"8\"")
        });
    }
    let limits = group["template"]["spec"]["containers"][0]["resources"]["limits"].as_object();
    // A map of `Value` is sorted by name, as KubeRay sorts it.
    for (name, value) in limits.into_iter().flatten().filter(|(name, _)| is_gpu(name)) {
        match count(value) {
            Some(0) => {}
            Some(count) => return Ok(count),
            None => {
                return Err(format!(
                    "template.spec.containers[0].resources.limits[{name}]: {value} is not a number of GPUs: write it as \"8\""
                ));
            }
        }
    }
    Ok(0)
}

fn count(value: &Value) -> Option<u32> {
    whole(value).and_then(|count| u32::try_from(count).ok())
}

/// KubeRay's `IsGPUResourceKey`: it ends in `gpu`, or is a MIG slice such as `nvidia.com/mig-1g.10gb`.
fn is_gpu(name: &str) -> bool {
    name.ends_with("gpu") || name.rsplit_once("nvidia.com/mig-").is_some_and(|(_, slice)| is_slice(slice))
}

fn is_slice(slice: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = slice.strip_suffix("gb").and_then(|slice| slice.split_once("g."));
    parts.is_some_and(|(compute, memory)| digits(compute) && digits(memory))
}

/// A device of a pod that Ray does not count as a `GPU`, and what helps: a part of a sentence. `None` where all are, or
/// where the group says itself how many GPUs there are.
pub fn uncounted(group: &Value) -> Option<String> {
    if gpus(group).is_ok_and(|gpus| gpus > 0) {
        return None;
    }
    let start = "leave out spec.model, so that the template's own command starts the engine";
    let named = group["resources"].as_object().into_iter().flatten();
    let own =
        named.map(|(name, _)| name).find(|name| OTHERS.iter().any(|(_, ray)| ray.eq_ignore_ascii_case(name)));
    if let Some(name) = own {
        return Some(format!(
            "resources[{name}] is no `GPU` of Ray, and engines of spec.model are placed on those: {start}"
        ));
    }
    let resources = &group["template"]["spec"]["containers"][0]["resources"];
    let set = "set rayStartParams.num-gpus to the number of GPUs of each pod";
    for (name, value) in resources["limits"].as_object().into_iter().flatten() {
        if whole(value) == Some(0) {
            continue;
        }
        if let Some((_, ray)) = OTHERS.iter().find(|(known, _)| name.starts_with(known)) {
            return Some(format!(
                "Ray counts `{name}` as `{ray}`, and engines of spec.model are placed on `GPU`s: {start}"
            ));
        }
        if SLICES.iter().any(|known| name.starts_with(known)) && !is_gpu(name) {
            return Some(format!("KubeRay does not tell Ray of `{name}`: {set}"));
        }
    }
    let claims = resources["claims"].as_array().is_some_and(|claims| !claims.is_empty());
    claims.then(|| format!("KubeRay does not tell Ray of devices of a resource claim (DRA): {set}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(limits: &Value) -> Value {
        json!({"template": {"spec": {"containers": [{"resources": {"limits": limits}}]}}})
    }

    #[test]
    fn gpus_are_counted_as_kuberay_tells_ray_of_them() {
        let cases = [
            (json!({}), 0),
            (json!({"cpu": "8", "memory": "1Gi"}), 0),
            (json!({"nvidia.com/gpu": "8"}), 8),
            (json!({"nvidia.com/gpu": 8}), 8),
            (json!({"nvidia.com/gpu": "8000m"}), 8),
            (json!({"nvidia.com/gpu": "8e0"}), 8),
            (json!({"nvidia.com/mig-1g.10gb": 7}), 7),
            (json!({"amd.com/gpu": "8"}), 8),
            // The first by name that is not 0, never their sum.
            (json!({"amd.com/gpu": "2", "nvidia.com/gpu": "8"}), 2),
            (json!({"amd.com/gpu": "0", "nvidia.com/gpu": "8"}), 8),
            (json!({"nvidia.com/mig-1g.10gb.me": 7}), 0),
            (json!({"nvidia.com/mig-all": 7}), 0),
            (json!({"nvidia.com/gpu.shared": 4}), 0),
            (json!({"gpu.intel.com/xe": 1}), 0),
            (json!({"google.com/tpu": 4}), 0),
        ];
        for (of, wanted) in cases {
            assert_eq!(gpus(&limits(&of)), Ok(wanted), "{of}");
        }
        let two = json!({"template": {"spec": {"containers": [{}, {"resources": {"limits": {"nvidia.com/gpu": 8}}}]}}});
        assert_eq!(gpus(&two), Ok(0), "of a sidecar Ray knows nothing");
    }

    #[test]
    fn resources_of_the_group_go_before_limits_of_its_pods() {
        let mut group = limits(&json!({"nvidia.com/gpu": "8"}));
        for (said, wanted) in [("4", 4), ("'4'", 4), ("0", 0)] {
            group["rayStartParams"] = json!({"num-gpus": said});
            assert_eq!(gpus(&group), Ok(wanted), "{said}");
        }
        group["resources"] = json!({"CPU": "8", "GPU": "2", "custom": "1"});
        assert_eq!(gpus(&group), Ok(2));
        group["resources"] = json!({"nvidia.com/gpu": "3000m"});
        assert_eq!(gpus(&group), Ok(3));
    }

    #[test]
    fn an_invalid_number_is_named_with_its_field() {
        let bad = gpus(&limits(&json!({"nvidia.com/gpu": "all"}))).unwrap_err();
        assert!(
            bad.starts_with("template.spec.containers[0].resources.limits[nvidia.com/gpu]: \"all\" is not"),
            "{bad}"
        );
        let bad = gpus(&json!({"rayStartParams": {"num-gpus": "half"}})).unwrap_err();
        assert!(bad.starts_with("rayStartParams.num-gpus: `half` is not a whole number"), "{bad}");
        let bad = gpus(&json!({"resources": {"GPU": "1", "nvidia.com/gpu": "1"}})).unwrap_err();
        assert!(bad.contains("are both GPUs"), "{bad}");
    }

    #[test]
    fn a_device_that_is_no_gpu_of_ray_is_named_with_what_helps() {
        let cases = [
            (json!({"google.com/tpu": 4}), "Ray counts `google.com/tpu` as `TPU`", "leave out spec.model"),
            (json!({"aws.amazon.com/neuroncore": 2}), "as `neuron_cores`", "leave out spec.model"),
            (json!({"habana.ai/gaudi": "8"}), "as `HPU`", "leave out spec.model"),
            (json!({"huawei.com/Ascend910": 8}), "as `NPU`", "leave out spec.model"),
            (
                json!({"gpu.intel.com/xe": 2}),
                "not tell Ray of `gpu.intel.com/xe`",
                "set rayStartParams.num-gpus",
            ),
            (json!({"nvidia.com/mig-1g.10gb.me": 1}), "mig-1g.10gb.me", "set rayStartParams.num-gpus"),
        ];
        for (of, words, cure) in cases {
            let reported = uncounted(&limits(&of)).unwrap();
            assert!(reported.contains(words) && reported.contains(cure), "{reported}");
            let mut said = limits(&of);
            said["rayStartParams"] = json!({"num-gpus": "4"});
            assert_eq!(uncounted(&said), None, "the group says how many: {of}");
        }
        let claims =
            json!({"template": {"spec": {"containers": [{"resources": {"claims": [{"name": "gpu"}]}}]}}});
        assert!(uncounted(&claims).unwrap().contains("resource claim (DRA): set rayStartParams.num-gpus"));
        assert!(
            uncounted(&json!({"resources": {"TPU": "4"}})).unwrap().starts_with("resources[TPU] is no `GPU`")
        );
        for of in [
            json!({"cpu": 4}),
            json!({"rdma/hca": 1}),
            json!({"nvidia.com/gpu": 1}),
            json!({"google.com/tpu": 0}),
        ] {
            assert_eq!(uncounted(&limits(&of)), None, "{of}");
        }
    }
}
