//! `--from-cluster` on the simulated API server.

use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verdict};
use serde_json::{Value, json};

use super::*;
use crate::fleets::Fleets;
use crate::simulated::Simulated;

const H100: (&str, &str) = ("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3");
const L40S: (&str, &str) = ("nvidia.com/gpu.product", "NVIDIA-L40S");
const T4: (&str, &str) = ("nvidia.com/gpu.product", "Tesla-T4");

/// A ready node with eight devices of NVIDIA.
fn node(name: &str, product: (&str, &str)) -> Value {
    json!({
        "metadata": {"name": name, "labels": {product.0: product.1}},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": {"nvidia.com/gpu": "8", "cpu": "64"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn changed(mut node: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    node.pointer_mut(parent).unwrap()[key] = value;
    node
}

fn server(nodes: impl IntoIterator<Item = Value>) -> Simulated {
    let server = Simulated::with([]);
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap().to_owned();
        server.0.create(&Kind::NODE, node.clone()).unwrap();
        let status = json!({"status": node["status"]});
        server.0.merge_patch_status(&Kind::NODE, "", &name, &status).unwrap();
    }
    server
}

/// What is printed, what people see beside it, and how it ended.
async fn on(fleets: Fleets, line: &str) -> (String, String, Result<(), CliError>) {
    let words = words(&format!("template {line} --from-cluster"));
    let all = std::iter::once("kubectl-rayfleet".to_owned()).chain(words.iter().cloned());
    let cli = Cli::try_parse_from(all).unwrap();
    let Command::Template(args) = &cli.command else { panic!("{cli:?}") };
    let kept = Kept::default();
    let done = run(args, &cli.global, &words, &kept.terminal(args.out.output), async { Ok(fleets) }).await;
    (kept.out(), kept.progress(), done)
}

async fn refused_on(nodes: Vec<Value>, line: &str) -> (String, CliError) {
    let (out, progress, done) = on(server(nodes).fleets(), line).await;
    assert_eq!(out, "");
    (progress, done.unwrap_err())
}

fn selector(text: &str) -> Value {
    let fleet = known_fields(text);
    fleet.spec.template.spec["headGroupSpec"]["template"]["spec"]["nodeSelector"].clone()
}

#[tokio::test(start_paused = true)]
async fn the_shape_is_that_of_the_nodes() {
    let nodes = ["a", "b"].map(|name| node(name, H100));
    let line = "deepseek-r1 --max-model-len 65536 --context lab";
    let (out, progress, done) = on(server(nodes).fleets(), line).await;
    done.unwrap();
    let model = known_fields(&out).spec.model.unwrap();
    assert_eq!((model.parallelism.tensor, model.parallelism.pipeline), (8, 2));
    assert_eq!(selector(&out), json!({H100.0: H100.1}));
    insta::assert_snapshot!(progress, @r##"
    PRODUCT                GPU   A NODE  NODES  NOT USABLE
    NVIDIA-H100-80GB-HBM3  h100  8       2      -
    from the cluster: 2 nodes of 8 NVIDIA H100 80 GB
    "##);
}

#[tokio::test(start_paused = true)]
async fn of_several_kinds_the_one_with_nodes_for_all_groups_is_taken() {
    let cordoned = changed(node("c", H100), "/spec/unschedulable", json!(true));
    let broken = changed(node("d", H100), "/status/allocatable", json!({"nvidia.com/gpu": "7"}));
    let tainted = changed(node("e", H100), "/spec/taints", json!([{"key": "team", "effect": "NoExecute"}]));
    let silent = changed(node("f", H100), "/status/conditions", json!([]));
    let mut nodes = vec![node("a", H100), node("b", H100), cordoned, broken, tainted, silent, node("t", T4)];
    nodes.extend((0..9).map(|index| node(&format!("l{index}"), L40S)));
    nodes.push(
        json!({"metadata": {"name": "cpu"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    let server = server(nodes);
    let line = "deepseek-r1 --max-model-len 65536";
    let (out, _, done) = on(server.fleets(), line).await;
    done.unwrap();
    assert_eq!(selector(&out), json!({H100.0: H100.1}), "the fewest nodes of a group");
    let line = format!("{line} --replicas 2");
    let (out, progress, done) = on(server.fleets(), &line).await;
    done.unwrap();
    insta::assert_snapshot!(progress, @r##"
    PRODUCT                GPU                   A NODE  NODES  NOT USABLE
    NVIDIA-L40S            l40s                  8       9      -
    NVIDIA-H100-80GB-HBM3  h100                  8       2      1 not ready, 1 cordoned, 1 tainted
    NVIDIA-H100-80GB-HBM3  h100                  7       1      -
    Tesla-T4               not in the catalogue  8       1      -
    from the cluster: 9 nodes of 8 NVIDIA L40S 48 GB
    of 3 kinds the one with nodes for all groups, or the fewest nodes and GPUs of a group; --gpu takes another
    "##);
    assert_eq!(selector(&out), json!({L40S.0: L40S.1}));
    let (out, progress, done) = on(server.fleets(), &format!("{line} --gpu h100")).await;
    done.unwrap();
    assert_eq!(selector(&out), json!({H100.0: H100.1}));
    assert!(progress.contains("warning: all groups together need 4 nodes, 2 are there"), "{progress}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_on_which_the_model_does_not_fit_is_passed_over() {
    let mut nodes = vec![node("a", ("nvidia.com/gpu.product", "NVIDIA-H200"))];
    // More memory in all, but a group may have one node.
    nodes.extend((0..30).map(|index| {
        changed(node(&format!("l{index}"), L40S), "/status/allocatable", json!({"nvidia.com/gpu": "1"}))
    }));
    let (out, progress, done) = on(server(nodes).fleets(), "gpt-oss-120b --max-nodes 1").await;
    done.unwrap();
    assert_eq!(selector(&out)["nvidia.com/gpu.product"], "NVIDIA-H200", "{progress}");
}

/// One that hands out nodes without end.
#[tokio::test(start_paused = true)]
async fn a_list_without_an_end_is_given_up() {
    let page = r#"{"metadata": {"continue": "more"}, "items": []}"#;
    let endless = tower::service_fn(move |_: http::Request<kube::client::Body>| async move {
        Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
            page.as_bytes().to_vec(),
        )))
    });
    let fleets = crate::simulated::fleets(kube::Client::new(endless, "serving"));
    let (_, _, done) = on(fleets, "gpt-oss-120b").await;
    let fault = done.unwrap_err();
    assert!(fault.message.contains("has no end after 1000 pages"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn no_more_nodes_are_reckoned_with_than_there_are() {
    let (progress, fault) = refused_on(vec![node("a", H100)], "deepseek-r1 --max-model-len 65536").await;
    assert!(fault.message.contains("fits on no shape of up to 1 node"), "{fault}");
    assert!(progress.contains("from the cluster: 1 node of 8 NVIDIA H100 80 GB"), "{progress}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_named_with_the_cure() {
    let with = |product: &str| node("a", ("nvidia.com/gpu.product", product));
    let mut texts = Vec::new();
    for (nodes, more) in [
        (vec![], ""),
        (vec![with("Tesla-T4"), changed(with("NVIDIA-H100-PCIe"), "/metadata/name", json!("b"))], ""),
        (
            vec![with("Tesla-T4"), changed(with("NVIDIA-H100-PCIe"), "/metadata/name", json!("b"))],
            "--gpu h100",
        ),
        (vec![with("NVIDIA-H200-MIG-1g.18gb")], ""),
        (vec![with("NVIDIA-H200-SHARED")], "--gpu h200"),
        (vec![with("NVIDIA-H200")], "--gpu b200"),
        (vec![with("NVIDIA-H200")], "--gpus-per-node 16"),
        (vec![changed(with("NVIDIA-H200"), "/spec/unschedulable", json!(true))], ""),
    ] {
        let (progress, fault) = refused_on(nodes, &format!("gpt-oss-120b {more}")).await;
        texts.push(format!("{progress}{fault}\n"));
    }
    insta::assert_snapshot!(texts.join("\n"), @r##"
    error: --from-cluster: no node has allocatable nvidia.com/gpu or amd.com/gpu
    cure:  check the device plugin (kubectl describe nodes), or name the GPU with --gpu in place of --from-cluster

    PRODUCT           GPU                   A NODE  NODES  NOT USABLE
    NVIDIA-H100-PCIe  not in the catalogue  8       1      -
    Tesla-T4          not in the catalogue  8       1      -
    error: --from-cluster: no GPU of the nodes is in the catalogue: "NVIDIA-H100-PCIe", "Tesla-T4"
    cure:  name the one of the catalogue that they are with --gpu beside --from-cluster (list them: kubectl rayfleet template)

    PRODUCT           GPU                   A NODE  NODES  NOT USABLE
    NVIDIA-H100-PCIe  not in the catalogue  8       1      -
    Tesla-T4          not in the catalogue  8       1      -
    error: --gpu h100: which nodes have it? Of "NVIDIA-H100-PCIe", "Tesla-T4" nothing is known
    cure:  name their nodes by a label: --set nodeSelector.KEY=VALUE

    PRODUCT                  GPU            A NODE  NODES  NOT USABLE
    NVIDIA-H200-MIG-1g.18gb  parts of GPUs  8       1      -
    error: --from-cluster: no node has whole GPUs for a pod
    cure:  see the table: a rank needs a whole GPU; turn off time slicing, MIG or partitions on these nodes

    PRODUCT             GPU             A NODE  NODES  NOT USABLE
    NVIDIA-H200-SHARED  shared by pods  8       1      -
    error: --gpu h200: no node that takes pods has it
    cure:  see the table; without --gpu the choice is among what is there

    PRODUCT      GPU   A NODE  NODES  NOT USABLE
    NVIDIA-H200  h200  8       1      -
    error: --gpu b200: no node that takes pods has it
    cure:  see the table; without --gpu the choice is among what is there

    PRODUCT      GPU   A NODE  NODES  NOT USABLE
    NVIDIA-H200  h200  8       1      -
    error: --gpus-per-node 16: no node has more than 8
    cure:  leave it out: --from-cluster reads it

    PRODUCT      GPU   A NODE  NODES  NOT USABLE
    NVIDIA-H200  h200  8       0      1 cordoned
    error: --from-cluster: no node with GPUs takes pods of this fleet
    cure:  see the table: uncordon them, correct the nodeSelector, or add tolerations to the profile
    "##);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_product_may_be_named() {
    let nodes = vec![node("a", ("nvidia.com/gpu.product", "NVIDIA-H100-PCIe"))];
    let (out, progress, done) = on(server(nodes).fleets(), "gpt-oss-120b --gpu h100").await;
    done.unwrap();
    assert!(progress.contains("not in the catalogue"), "{progress}");
    assert_eq!(selector(&out), json!({"nvidia.com/gpu.product": "NVIDIA-H100-PCIe"}));
    // GPUs of another maker are not those.
    let nodes = vec![node("a", ("nvidia.com/gpu.product", "NVIDIA-H100-PCIe"))];
    let (_, fault) = refused_on(nodes, "gpt-oss-120b --gpu mi300x").await;
    assert!(fault.message.contains("--gpu mi300x"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn the_site_decides_which_nodes_there_are() {
    let team = json!([{"key": "team", "value": "ml", "effect": "NoSchedule"}]);
    let of_team = changed(node("b", H100), "/spec/taints", team);
    let server = server([node("a", H100), of_team]);
    let line = "deepseek-r1 --max-model-len 65536";
    let (_, _, done) = on(server.fleets(), line).await;
    assert_eq!(done.unwrap_err().code(), 1, "one node is too few");
    for (tolerations, fits) in [
        (r#"[{"key":"team","operator":"Exists"}]"#, true),
        (r#"[{"operator":"Exists"}]"#, true),
        (r#"[{"key":"team","value":"ml","effect":"NoSchedule"}]"#, true),
        (r#"[{"key":"team","value":"web"}]"#, false),
        (r#"[{"key":"team","operator":"Exists","effect":"NoExecute"}]"#, false),
        (r#"[{"key":"other","operator":"Exists"}]"#, false),
    ] {
        let (_, _, done) = on(server.fleets(), &format!("{line} --set tolerations={tolerations}")).await;
        assert_eq!(done.is_ok(), fits, "{tolerations}");
    }
    let selected = format!(r#"{line} --set tolerations=[{{"operator":"Exists"}}] --set nodeSelector.pool=a"#);
    let (_, progress, done) = on(server.fleets(), &selected).await;
    assert!(done.is_err() && progress.contains("2 not of the nodeSelector"), "{progress}");
}

/// What the API server does to a list of nodes.
struct Nodes(Verdict);

impl Interceptor for Nodes {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == Kind::NODE { self.0 } else { Verdict::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_right_or_without_an_answer_the_gpu_can_be_named() {
    let server = server([node("a", H100)]);
    let forbidden = Verdict::Refuse { code: 403, reason: "Forbidden" };
    let mut texts = Vec::new();
    for verdict in [forbidden, Verdict::LoseBefore] {
        let (out, progress, done) = on(server.fleets_with(Nodes(verdict)), "gpt-oss-120b").await;
        assert_eq!((out.as_str(), progress.as_str()), ("", ""));
        texts.push(done.unwrap_err().to_string());
    }
    insta::assert_snapshot!(texts.join("\n"), @r##"
    error: an error on the server ("simulated") has prevented the request: Forbidden
    cure:  see what you may do: kubectl auth can-i --list -n serving; or name the GPU with --gpu in place of --from-cluster
    error: no answer from the API server https://simulated within 10s
    cure:  check that it is up (kubectl version), or give it longer with --request-timeout; or name the GPU with --gpu in place of --from-cluster
    "##);
}

#[test]
fn the_parser_wants_a_gpu_or_a_cluster() {
    for (line, parsed) in [
        ("template gpt-oss-120b", false),
        ("template gpt-oss-120b --from-cluster", true),
        ("template gpt-oss-120b --from-cluster --gpu h100 --explain", true),
        ("template --config a --name b --from-cluster --output-dir c", true),
    ] {
        let words = std::iter::once("kubectl-rayfleet").chain(line.split_whitespace());
        assert_eq!(Cli::try_parse_from(words).is_ok(), parsed, "{line}");
    }
    assert!(refused("template --from-cluster").message.contains("--from-cluster: for which model?"));
}
