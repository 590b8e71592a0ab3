//! Pictures of a fleet in which something is amiss, and the command on the simulated API server.

use std::collections::BTreeMap;

use rayfleet_api::names;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verdict};
use serde_json::{Value, json};

use super::args::{MapArgs, MapOutput};
use super::facts::{self, Facts, NodeFact};
use super::picture::Picture;
use super::text::{Style, text};
use super::{draw, run, svg};
use crate::fleets::Fleets;
use crate::sample;
use crate::simulated::Simulated;

/// A fleet of a group over two nodes of eight GPUs, and of one of which two nodes are amiss.
struct World {
    fleet: Value,
    pods: Vec<Value>,
    nodes: BTreeMap<String, Value>,
}

fn node(name: &str, rack: &str, zone: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {
            "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/rack": rack,
            "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"
        }},
        "spec": {},
        "status": {
            "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}]
        }
    })
}

fn pod(group: &str, kind: &str, node: &str) -> Value {
    let labels = json!({names::LABEL_FLEET: "llama", "ray.io/cluster": group, "ray.io/node-type": kind});
    json!({
        "metadata": {"name": format!("{group}-{kind}"), "namespace": "serving", "labels": labels},
        "spec": {"nodeName": node, "containers": [
            {"name": "ray", "image": "ray:1", "resources": {"limits": {"nvidia.com/gpu": "8"}}}
        ]},
        "status": {"phase": "Running"}
    })
}

fn ranks(nodes: [&str; 2]) -> Value {
    let rank =
        |rank: usize| json!({"rank": rank, "tensor": rank % 8, "stage": rank / 8, "node": nodes[rank / 8]});
    (0..16).map(rank).collect()
}

impl World {
    fn new() -> Self {
        let mut fleet = json!(sample::upgrading());
        fleet["spec"]["model"]["parallelism"] = json!({"tensor": 8, "pipeline": 2});
        let eight = json!({"nvidia.com/gpu": "8"});
        let template = &mut fleet["spec"]["template"]["spec"];
        for group in ["/headGroupSpec", "/workerGroupSpecs/0"] {
            let limits = format!("{group}/template/spec/containers/0/resources/limits");
            *template.pointer_mut(&limits).unwrap() = eight.clone();
        }
        let groups = fleet["status"]["groups"].as_array_mut().unwrap();
        for (group, nodes) in groups.iter_mut().zip([["node-a", "node-b"], ["node-c", "node-d"]]) {
            (group["placement"], group["ranks"]) = (ranks(nodes), json!("16/16"));
        }
        let mut pods = Vec::new();
        for (group, nodes) in
            [("llama-bcdfgh-0", ["node-a", "node-b"]), ("llama-bcdfgh-1", ["node-c", "node-d"])]
        {
            pods.extend([pod(group, "head", nodes[0]), pod(group, "worker", nodes[1])]);
        }
        let nodes =
            [("node-a", "r1", "z1"), ("node-b", "r1", "z1"), ("node-c", "r2", "z1"), ("node-d", "r2", "z2")];
        let nodes = nodes.map(|(name, rack, zone)| (name.to_owned(), node(name, rack, zone)));
        Self { fleet, pods, nodes: nodes.into() }
    }

    /// The second group's nodes are cordoned and not ready.
    fn broken() -> Self {
        let mut world = Self::new();
        world.node("node-c")["spec"]["unschedulable"] = json!(true);
        world.node("node-d")["status"]["conditions"][0]["status"] = json!("Unknown");
        world.group(1)["ranks"] = json!("15/16");
        world.group(1)["misplaced"] = json!(["rank 9 (TP1 PP1) is dead: node died"]);
        world
    }

    fn node(&mut self, name: &str) -> &mut Value {
        self.nodes.get_mut(name).unwrap()
    }

    fn group(&mut self, number: usize) -> &mut Value {
        &mut self.fleet["status"]["groups"][number]
    }

    fn facts(&self) -> Facts {
        let nodes = self.nodes.iter().map(|(name, node)| {
            let fact =
                facts::node(&node.to_string()).map_or(NodeFact::Gone, |node| NodeFact::Here(Box::new(node)));
            (name.clone(), fact)
        });
        Facts {
            fleet: serde_json::from_value(self.fleet.clone()).unwrap(),
            pods: Ok(self.pods.iter().map(|pod| facts::pod(&pod.to_string()).unwrap()).collect()),
            nodes: nodes.collect(),
        }
    }

    fn picture(&self) -> Picture {
        draw::picture(&self.facts(), None)
    }

    fn troubles(&self, group: usize) -> Vec<String> {
        self.picture().groups.swap_remove(group).troubles
    }

    fn server(&self) -> Simulated {
        let server = Simulated::with([serde_json::from_value(self.fleet.clone()).unwrap()]);
        for (name, node) in &self.nodes {
            server.0.create(&Kind::NODE, node.clone()).unwrap();
            let status = json!({"status": node["status"]});
            server.0.merge_patch_status(&Kind::NODE, "", name, &status).unwrap();
        }
        for pod in &self.pods {
            server.0.create(&Kind::POD, pod.clone()).unwrap();
            let name = pod["metadata"]["name"].as_str().unwrap();
            let status = json!({"status": pod["status"]});
            server.0.merge_patch_status(&Kind::POD, "serving", name, &status).unwrap();
        }
        server
    }
}

#[test]
fn a_fleet_whose_second_group_is_amiss() {
    insta::assert_snapshot!(text(&World::broken().picture(), Style::default()));
}

#[test]
fn a_narrow_terminal_wraps_ranks_and_a_wide_map_has_pods() {
    let picture = draw::picture(&World::new().facts(), Some("llama-bcdfgh-0"));
    insta::assert_snapshot!(text(&picture, Style { wide: true, width: Some(40), ..Style::default() }));
}

#[test]
fn a_picture_is_complete_in_one_file() {
    let picture = draw::picture(&World::broken().facts(), Some("llama-bcdfgh-1"));
    let svg = svg::svg(&picture);
    for wanted in ["<title id=\"title\">", "<desc id=\"desc\">", "prefers-color-scheme:dark", "role=\"img\""]
    {
        assert!(svg.contains(wanted), "{wanted}");
    }
    for foreign in ["<script", "href", "url(", "@import", "<image", "<foreignObject"] {
        assert!(!svg.contains(foreign), "{foreign}");
    }
    assert_eq!(svg.matches("http").count(), 1, "the name of the format");
    insta::assert_snapshot!(svg);
}

#[test]
fn links_say_what_stages_have_in_common() {
    let mut world = World::new();
    let words = |world: &World| {
        let groups = world.picture().groups;
        groups.iter().flat_map(|group| &group.links).map(super::picture::Link::words).collect::<Vec<_>>()
    };
    // Racks of one name in two zones are two.
    assert_eq!(words(&world), ["network, same rack r1", "network, another zone"]);
    for name in ["node-a", "node-b"] {
        world.node(name)["metadata"]["labels"]["nvidia.com/gpu.clique"] = json!("c.1");
    }
    assert_eq!(words(&world)[0], "network, same fabric c.1");
    world.nodes.remove("node-c");
    assert_eq!(words(&world)[1], "network");
    world.group(0)["placement"] = ranks(["node-a", "node-a"]);
    assert_eq!(words(&world)[0], "inside the node");
    world.fleet["spec"]["model"]["placement"] = json!({"topology": ["topology.kubernetes.io/zone"]});
    world.group(0)["placement"] = ranks(["node-a", "node-b"]);
    assert_eq!(words(&world)[0], "network, same topology.kubernetes.io/zone z1", "the fleet's own levels");
}

#[test]
fn what_is_not_where_it_should_be_is_named() {
    assert_eq!(World::new().troubles(0), [""; 0]);
    let mut world = World::new();
    world.pods.remove(1);
    assert_eq!(
        world.troubles(0),
        ["node node-b has ranks by the status, but no pod of the group runs there"]
    );
    let lost = |world: &World| {
        let stages = &world.picture().groups[0].stages;
        stages
            .iter()
            .flat_map(|stage| &stage.hosts)
            .flat_map(|host| &host.ranks)
            .filter(|rank| rank.is_lost)
            .count()
    };
    assert_eq!(lost(&world), 8);
    world = World::new();
    world.nodes.insert("node-a".to_owned(), Value::Null);
    assert_eq!((world.troubles(0), lost(&world)), (vec!["node node-a is gone".to_owned()], 8));
    world = World::new();
    world.group(0)["placement"].as_array_mut().unwrap().truncate(12);
    assert_eq!(world.troubles(0), ["no place is known of ranks 12-15"]);
    world.group(0)["placement"][3]["node"] = json!("node-b");
    let spans = "tensor ranks of stage 0 are on 2 nodes: every layer crosses the network";
    assert_eq!(world.troubles(0)[1], spans);
    for name in ["node-a", "node-b"] {
        world.node(name)["metadata"]["labels"]["nvidia.com/gpu.clique"] = json!("c.1");
    }
    assert!(!world.troubles(0).contains(&spans.to_owned()), "one fabric over both");
}

#[test]
fn a_group_without_ranks_shows_the_nodes_of_its_pods() {
    let mut world = World::new();
    for field in ["placement", "ranks"] {
        world.group(0).as_object_mut().unwrap().remove(field);
    }
    world.group(0)["phase"] = json!("Forming");
    let group = &world.picture().groups[0];
    assert!(group.stages.is_empty() && group.troubles.is_empty());
    let nodes: Vec<&str> = group.without_ranks.iter().map(|host| host.node.as_str()).collect();
    assert_eq!((nodes, group.tensor, group.pipeline), (vec!["node-a", "node-b"], Some(8), Some(2)));
}

#[test]
fn words_of_others_reach_no_terminal_and_no_picture_as_they_are() {
    let mut world = World::new();
    let bad = "\u{1b}[2J</text><script>x</script>\r\n\"'&";
    world.fleet["spec"]["model"]["name"] = json!(bad);
    world.node("node-a")["metadata"]["labels"]["topology.kubernetes.io/rack"] = json!(bad);
    world.group(0)["misplaced"] = json!([bad]);
    world.group(0)["ranks"] = json!("4294967295/4294967295");
    world.group(0)["placement"][0] =
        json!({"rank": u32::MAX, "tensor": u32::MAX, "stage": u32::MAX, "node": bad});
    let picture = world.picture();
    for shown in [text(&picture, Style::default()), svg::svg(&picture)] {
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
    let svg = svg::svg(&picture);
    assert!(!svg.contains("<script") && svg.matches("</svg>").count() == 1, "{svg}");
}

async fn shown(args: &MapArgs, fleets: &Fleets) -> Result<String, rayfleet_cli_kit::CliError> {
    let kept = Kept::default();
    run(args, fleets, &kept.terminal(args.format())).await?;
    Ok(kept.out())
}

fn args(group: Option<&str>, output: Option<MapOutput>) -> MapArgs {
    MapArgs { fleet: "llama".to_owned(), group: group.map(str::to_owned), output }
}

#[tokio::test(start_paused = true)]
async fn a_map_is_made_of_what_the_api_server_has() {
    let mut world = World::broken();
    world.nodes.remove("node-b");
    let server = world.server();
    let all = shown(&args(None, None), &server.fleets()).await.unwrap();
    assert!(all.contains("node-b (is gone)") && all.contains("node-c (is cordoned)"), "{all}");
    let one = shown(&args(Some("llama-bcdfgh-1"), Some(MapOutput::Json)), &server.fleets()).await.unwrap();
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["groups"].as_array().unwrap().len(), 1);
    assert_eq!(one["groups"][0]["stages"][1]["hosts"][0]["state"], "notReady");
    assert_eq!(one["groups"][0]["stages"][1]["hosts"][0]["ranks"][0]["isLost"], true);
    let svg = shown(&args(None, Some(MapOutput::Svg)), &server.fleets()).await.unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    let fault = shown(&args(Some("other"), None), &server.fleets()).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "error: fleet \"llama\" has no group \"other\"\ncure:  it has llama-bcdfgh-0, llama-bcdfgh-1"
    );
}

struct MayNot(Kind);

impl Interceptor for MayNot {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == self.0 { Verdict::Refuse { code: 403, reason: "Forbidden" } } else { Verdict::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_said_and_left_out() {
    let server = World::new().server();
    let map = args(None, None);
    let text = shown(&map, &server.fleets_with(MayNot(Kind::NODE))).await.unwrap();
    assert!(text.contains("? nodes: you may not get nodes (a right of the whole cluster)\n"), "{text}");
    assert_eq!(text.matches("? nodes").count(), 1, "{text}");
    assert!(text.contains("stage 1  node-b\n") && !text.contains("[0!]"), "{text}");
    let text = shown(&map, &server.fleets_with(MayNot(Kind::POD))).await.unwrap();
    assert!(text.contains("\n? pods: ") && !text.contains("[0!]"), "{text}");
}
