//! Random templates in random spellings: what means the same has one form, and nothing else has it.

use serde_json::{Value, json};

use super::{spec, template};
use crate::PodRevision;
use crate::revision::revision;
use crate::spec::RayClusterTemplate;

/// A place at which templates differ: each row is one meaning, each entry of a row one spelling of it.
type Place = (&'static str, Vec<Vec<Option<Value>>>);

fn places() -> Vec<Place> {
    let mut all = of_a_container();
    all.extend(of_a_group());
    all
}

fn of_a_container() -> Vec<Place> {
    let container = "/headGroupSpec/template/spec/containers/0";
    let of = |place: &str| -> &'static str { Box::leak(format!("{container}/{place}").into_boxed_str()) };
    vec![
        (
            of("ports"),
            vec![
                vec![None, Some(Value::Null), Some(json!([]))],
                vec![
                    Some(json!([{"containerPort": 8000}])),
                    Some(json!([{"containerPort": 8000, "protocol": "TCP"}])),
                ],
                vec![Some(json!([{"containerPort": 8000, "protocol": "UDP"}]))],
            ],
        ),
        (
            of("resources"),
            vec![
                vec![None, Some(json!({})), Some(json!({"limits": {}})), Some(json!({"limits": null}))],
                vec![
                    Some(json!({"limits": {"nvidia.com/gpu": 8}})),
                    Some(json!({"limits": {"nvidia.com/gpu": "8"}, "requests": {}})),
                ],
                vec![Some(json!({"limits": {"nvidia.com/gpu": "80"}}))],
                vec![
                    Some(json!({"limits": {"cpu": "8000m"}})),
                    Some(json!({"limits": {"cpu": "8"}})),
                    Some(json!({"limits": {"cpu": 8}})),
                ],
                vec![Some(json!({"limits": {"cpu": "8001m"}})), Some(json!({"limits": {"cpu": 8.001}}))],
                vec![
                    Some(json!({"limits": {"memory": "2Gi"}})),
                    Some(json!({"limits": {"memory": "2048Mi"}})),
                ],
                vec![Some(json!({"limits": {"memory": "2G"}}))],
                vec![Some(json!({"limits": {"cpu": "8000"}}))],
                vec![Some(json!({"requests": {"nvidia.com/gpu": "8"}}))],
            ],
        ),
        (
            of("args"),
            vec![vec![None, Some(json!([]))], vec![Some(json!([""]))], vec![Some(json!(["--port=1"]))]],
        ),
        (
            of("env"),
            vec![
                vec![None, Some(json!([]))],
                vec![Some(json!([{"name": "A", "value": "8"}]))],
                vec![Some(json!([{"name": "A", "value": ""}]))],
            ],
        ),
        (
            of("startupProbe"),
            vec![
                vec![None],
                vec![Some(json!({"grpc": {"port": 1}})), Some(json!({"grpc": {"port": 1, "service": ""}}))],
                vec![Some(json!({"grpc": {"port": 1, "service": "s"}}))],
            ],
        ),
    ]
}

fn of_a_group() -> Vec<Place> {
    let volume = "/headGroupSpec/template/spec/volumes";
    let term = |selector: Value| {
        Some(json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [selector]}}))
    };
    vec![
        (
            volume,
            vec![
                vec![None, Some(json!([]))],
                vec![Some(json!([{"name": "v", "emptyDir": {}}]))],
                vec![Some(json!([{"name": "v", "emptyDir": {"medium": "Memory"}}]))],
                vec![Some(json!([{"name": "v", "configMap": {"name": "c"}}]))],
            ],
        ),
        (
            "/headGroupSpec/template/spec/affinity",
            vec![
                vec![None, Some(json!({})), Some(json!({"nodeAffinity": {}}))],
                // Of all namespaces, of the pod's own; of all pods, of none.
                vec![
                    term(json!({"topologyKey": "h", "labelSelector": {}, "namespaceSelector": {}})),
                    term(
                        json!({"topologyKey": "h", "labelSelector": {"matchLabels": {}}, "namespaceSelector": {}}),
                    ),
                ],
                vec![term(json!({"topologyKey": "h", "labelSelector": {}}))],
                vec![term(json!({"topologyKey": "h", "namespaceSelector": {}}))],
            ],
        ),
        (
            "/headGroupSpec/rayStartParams",
            vec![vec![None, Some(json!({})), Some(Value::Null)], vec![Some(json!({"num-cpus": "8"}))]],
        ),
        (
            "/headGroupSpec/template/metadata",
            vec![
                vec![None, Some(json!({"creationTimestamp": null})), Some(json!({"labels": {}}))],
                vec![Some(json!({"labels": {"protocol": "TCP"}}))],
            ],
        ),
        ("/suspend", vec![vec![None, Some(json!(false))], vec![Some(json!(true))]]),
        ("/gcsFaultToleranceOptions", vec![vec![None, Some(Value::Null)], vec![Some(json!({}))]]),
        (
            "/workerGroupSpecs/0/numOfHosts",
            vec![vec![None, Some(json!(1)), Some(Value::Null)], vec![Some(json!(2))]],
        ),
        ("/workerGroupSpecs/0/replicas", vec![vec![None, Some(json!(0))], vec![Some(json!(1))]]),
        ("/workerGroupSpecs/0/minReplicas", vec![vec![None, Some(json!(0))], vec![Some(json!(1))]]),
        (
            "/workerGroupSpecs/0/maxReplicas",
            vec![vec![None, Some(json!(2_147_483_647))], vec![Some(json!(1))]],
        ),
        (
            "/workerGroupSpecs/0/scaleStrategy",
            vec![
                vec![None, Some(json!({})), Some(json!({"workersToDelete": []}))],
                vec![Some(json!({"workersToDelete": ["p"]}))],
            ],
        ),
    ]
}

fn bare() -> Value {
    json!({
        "headGroupSpec": {"template": {"spec": {"containers": [{"name": "ray", "image": "i"}]}}},
        "workerGroupSpecs": [{"groupName": "w", "template": {"spec": {"containers": [{"name": "ray"}]}}}]
    })
}

fn put(spec: &mut Value, place: &str, value: Option<&Value>) {
    let (parent, field) = place.rsplit_once('/').unwrap();
    if let Some(value) = value {
        spec.pointer_mut(parent).unwrap()[field] = value.clone();
    }
}

/// Numbers that are the same in every run.
fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    }
}

fn hash(spec: Value) -> PodRevision {
    revision(&RayClusterTemplate { metadata: None, spec: spec.into() }, None).pod
}

#[test]
fn templates_have_one_hash_exactly_if_they_mean_the_same() {
    let places = places();
    let mut next = numbers(7);
    let mut known: std::collections::BTreeMap<PodRevision, Vec<usize>> = std::collections::BTreeMap::new();
    for _ in 0..2000 {
        let meaning: Vec<usize> = places.iter().map(|(_, rows)| next(rows.len())).collect();
        let mut hashes = Vec::new();
        for _ in 0..2 {
            let mut given = bare();
            for ((place, rows), row) in places.iter().zip(&meaning) {
                let spellings = &rows[*row];
                put(&mut given, place, spellings[next(spellings.len())].as_ref());
            }
            let once = spec(&given);
            assert_eq!(spec(&once), once, "{given}");
            hashes.push(hash(given));
        }
        assert_eq!(hashes[0], hashes[1], "{meaning:?}");
        let before = known.insert(hashes.swap_remove(0), meaning.clone());
        assert!(
            before.is_none_or(|before| before == meaning),
            "another template has the hash of {meaning:?}"
        );
    }
}

#[test]
fn every_difference_of_meaning_alone_is_another_hash() {
    for (place, rows) in places() {
        let with = |spelling: &Option<Value>| {
            let mut given = bare();
            put(&mut given, place, spelling.as_ref());
            hash(given)
        };
        let hashes: Vec<Vec<PodRevision>> = rows.iter().map(|row| row.iter().map(with).collect()).collect();
        for (number, row) in hashes.iter().enumerate() {
            assert!(row.iter().all(|hash| *hash == row[0]), "{place}: one meaning, {:?}", rows[number]);
            let others = hashes.iter().take(number).map(|other| &other[0]);
            assert!(others.into_iter().all(|other| *other != row[0]), "{place}: {:?}", rows[number]);
        }
    }
}

#[test]
fn bounds_count_where_rays_autoscaler_moves_between_them() {
    let scaling = |bounds: Value| {
        let mut given = bare();
        given["enableInTreeAutoscaling"] = json!(true);
        given["workerGroupSpecs"][0]["minReplicas"] = bounds;
        hash(given)
    };
    assert_ne!(scaling(json!(0)), scaling(Value::Null));
}

#[test]
fn defaults_of_aibrixs_crd_do_not_change_the_template() {
    let manifest = json!({
        "rayVersion": "2.40.0",
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0"},
            "template": {"spec": {"containers": [{
                "name": "ray-head", "image": "i", "ports": [{"name": "service", "containerPort": 8000}],
                "resources": {"limits": {"nvidia.com/gpu": "8"}}
            }]}}
        },
        "workerGroupSpecs": [{
            "groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, "rayStartParams": {},
            "template": {"spec": {"containers": [{"name": "ray-worker", "image": "i"}]}}
        }]
    });
    let mut stored = manifest.clone();
    stored["headGroupSpec"]["template"]["metadata"] = json!({"creationTimestamp": null});
    stored["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
    stored["workerGroupSpecs"][0]["numOfHosts"] = json!(1);
    stored["workerGroupSpecs"][0]["scaleStrategy"] = json!({});
    stored["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resources"] = json!({});
    assert_eq!(hash(manifest), hash(stored));
}

#[test]
fn metadata_that_a_raycluster_cannot_have_is_in_no_hash() {
    let of = |metadata: Value| {
        let template: RayClusterTemplate =
            serde_json::from_value(json!({"metadata": metadata, "spec": bare()})).unwrap();
        super::template(&template)
    };
    assert_eq!(of(Value::Null), of(json!({"labels": {}, "annotations": {}})));
    assert_ne!(of(Value::Null), of(json!({"labels": {"a": "b"}})));
    assert_eq!(template(&RayClusterTemplate { metadata: None, spec: bare().into() }), of(Value::Null));
}
