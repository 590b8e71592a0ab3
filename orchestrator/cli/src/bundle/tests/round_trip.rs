//! Each command says of a bundle what it said of the cluster.

use rayfleet_sim_kube::api::Kind;

use super::{cluster, made, opened, passing, printed};
use crate::fleets::Fleets;

/// What every command line is read with.
const LINES: [&str; 27] = [
    "status",
    "status -A",
    "status -o wide",
    "status -l nothing=here",
    "status -o name",
    "status llama",
    "status llama -o wide",
    "status none",
    "map llama",
    "map llama llama-bcdfgh-0 -o wide",
    "map llama -o json",
    "top",
    "top llama",
    "top -A -o wide",
    "events llama",
    "events llama --group llama-bcdfgh-0",
    "events -A -o wide",
    "diagnose llama",
    "diagnose",
    "diagnose none",
    "rollout status llama --watch=false",
    "rollout history llama",
    "rollout history llama --revision 6",
    "rollout diff llama --from-revision 1 --to-revision 6",
    "rollout diff llama --from-revision 6",
    "plan llama",
    "plan llama -o json",
];
const LOGS: [&str; 9] = [
    "logs llama",
    "logs llama --engine",
    "logs llama --rank 0",
    "logs llama --rank 0,1",
    "logs llama llama-bcdfgh-1",
    "logs llama --container ray --timestamps",
    "logs llama --previous",
    "logs llama --launcher",
    "logs none",
];

#[tokio::test(start_paused = true)]
async fn each_command_says_of_a_bundle_what_it_said_of_the_cluster() {
    let server = cluster();
    let live = passing(&server);
    let (_directory, path, done, said) = made("", &live).await;
    assert_eq!(done, Ok(()), "{said}");
    for line in LINES {
        // Each command is a run of its own.
        let recorded = opened(&path);
        let (code, out, said) = printed(line, &live).await;
        let (of_bundle, from_bundle, said_of_bundle) = printed(line, &recorded).await;
        // A secret of an event is hidden in the bundle alone.
        let out = out.replace(super::SECRET, "<redacted>");
        assert_eq!(from_bundle, out, "{line}: {said_of_bundle}");
        assert_eq!((of_bundle, said_of_bundle), (code, said), "{line}");
        assert!(code != 0 || !out.is_empty() || line.contains("nothing=here"), "{line} says nothing");
    }
    for line in LOGS {
        let recorded = opened(&path);
        let (code, out, said) = printed(line, &live).await;
        let (of_bundle, from_bundle, said_of_bundle) = printed(line, &recorded).await;
        let shown = |text: &str| {
            text.replace(&format!("Bearer {}", super::SECRET), "<redacted>")
                .replace(super::SECRET, "<redacted>")
        };
        assert_eq!((of_bundle, from_bundle), (code, shown(&out)), "{line}: {said_of_bundle}");
        assert_eq!(said_of_bundle, said, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bundle_of_one_fleet_has_that_fleet() {
    let server = cluster();
    let live = passing(&server);
    let (_directory, path, done, said) = made("llama", &live).await;
    assert_eq!(done, Ok(()), "{said}");
    let recorded = opened(&path);
    for line in
        ["status llama", "map llama", "diagnose llama", "events llama", "rollout history llama", "plan llama"]
    {
        let (code, out, _) = printed(line, &live).await;
        let (of_bundle, from_bundle, said) = printed(line, &recorded).await;
        assert_eq!(
            (of_bundle, from_bundle),
            (code, out.replace(super::SECRET, "<redacted>")),
            "{line}: {said}"
        );
    }
    let (code, out, _) = printed("status -A", &recorded).await;
    assert!(code == 0 && out.contains("llama"), "{out}");
    let (code, _, said) = printed("status -n other", &recorded).await;
    assert!(code == 1 && said.contains("not in this bundle, which is of fleet serving/llama"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_revision_is_known_though_something_of_it_is_redacted() {
    let mut fleet = crate::rollout::testing::under_way();
    let head = &mut fleet.data["spec"]["template"]["spec"]["headGroupSpec"]["template"]["spec"];
    head["containers"][0]["env"] = serde_json::json!([{"name": "HF_TOKEN", "value": super::SECRET}]);
    let hash = crate::revisions::current(&fleet).unwrap();
    for group in fleet.data["status"]["groups"].as_array_mut().unwrap() {
        group["revision"] = serde_json::json!(hash.pod);
        group["engineRevision"] = serde_json::json!(hash.engine);
    }
    let server = crate::rollout::testing::with_history(fleet);
    let live = passing(&server);
    let (_directory, path, ..) = made("", &live).await;
    let recorded = opened(&path);
    for line in
        ["plan llama", "rollout history llama", "rollout diff llama --from-revision 6", "status llama"]
    {
        let (code, out, said) = printed(line, &live).await;
        let (of_bundle, from_bundle, said_of_bundle) = printed(line, &recorded).await;
        let out = out.replace(super::SECRET, "<redacted>");
        assert_eq!((of_bundle, from_bundle, said_of_bundle), (code, out, said), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bundle_of_all_namespaces_answers_for_all_of_them() {
    let server = cluster();
    let mut broken = crate::sample::upgrading();
    (broken.metadata.name, broken.metadata.namespace) = (Some("broken".to_owned()), Some("other".to_owned()));
    (broken.metadata.uid, broken.metadata.resource_version) = (None, None);
    super::put(&server, &Kind::FLEET, serde_json::to_value(&broken).unwrap());
    // Nothing of the fleets is in the namespace that is meant.
    let live = Fleets { namespace: "default".to_owned(), ..passing(&server) };
    let (_directory, path, _, said) = made("-A", &live).await;
    assert!(path.exists(), "{said}");
    for (line, meant) in [
        ("diagnose", "diagnose -A"),
        ("status", "status -A"),
        ("top", "top -A"),
        ("events", "events -A"),
        ("status llama", "status llama -n serving"),
        ("map llama", "map llama -n serving"),
        ("rollout history llama", "rollout history llama -n serving"),
        ("status broken", "status broken -n other"),
    ] {
        let (code, out, said) = printed(line, &opened(&path)).await;
        assert_eq!((code, out.clone(), said), printed(meant, &opened(&path)).await, "{line}");
        assert!(out.contains("llama") || out.contains("broken"), "{line}: {out}");
    }
    let (code, out, _) = printed("diagnose", &opened(&path)).await;
    assert!(code == 1 && out.contains("broken"), "{out}");
    let (code, _, said) = printed("map none", &opened(&path)).await;
    assert!(code == 1 && said.contains("it has fleets in: other, serving"), "{said}");
    let readme = super::files(&path).into_iter().find(|(name, _)| name == "README.txt").unwrap().1;
    assert!(readme.contains("kubectl rayfleet diagnose -A --from THIS-FILE"), "{readme}");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_of_several_namespaces_is_asked_for_by_one() {
    let server = cluster();
    let mut twin = crate::sample::upgrading();
    twin.metadata.namespace = Some("other".to_owned());
    (twin.metadata.uid, twin.metadata.resource_version) = (None, None);
    super::put(&server, &Kind::FLEET, serde_json::to_value(&twin).unwrap());
    let (_directory, path, ..) =
        made("-A", &Fleets { namespace: "default".to_owned(), ..passing(&server) }).await;
    let (code, _, said) = printed("map llama", &opened(&path)).await;
    assert!(code == 2 && said.contains("has fleets \"llama\" in: other, serving"), "{said}");
    let (code, out, said) = printed("map llama -n serving", &opened(&path)).await;
    assert!(code == 0 && out.contains("llama-bcdfgh-0"), "{said}");
}
