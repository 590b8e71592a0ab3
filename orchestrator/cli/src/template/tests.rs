//! The command as a whole: what it prints, and that it never prints what would be refused.

mod cluster;
mod engine;
mod hostile;
mod random;

use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::Parser;
use futures::FutureExt;
use rayfleet_api::RayClusterFleet;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_cli_kit::{CliError, Kind};
use rayfleet_templates::choose;
use serde_json::Value;

use super::*;
use crate::args::{Cli, Command};

/// Runs a command line after the program's name.
fn run_words(words: &[String]) -> (String, Result<(), CliError>) {
    let cli =
        Cli::try_parse_from(std::iter::once("kubectl-rayfleet".to_owned()).chain(words.iter().cloned()));
    let cli = cli.unwrap();
    let Command::Template(args) = &cli.command else { panic!("{cli:?}") };
    let kept = Kept::default();
    let terminal = kept.terminal(args.out.output);
    let nobody = async { panic!("no cluster is asked") };
    let done = run(args, &cli.global, words, &terminal, nobody).now_or_never().unwrap();
    (kept.out(), done)
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn printed(line: &str) -> String {
    let (out, done) = run_words(&words(line));
    done.unwrap();
    out
}

fn refused(line: &str) -> CliError {
    let (out, done) = run_words(&words(line));
    assert_eq!(out, "", "nothing is printed of what is refused");
    done.unwrap_err()
}

/// The fleet as our types have it must be the one that was written: the API server drops what it does not know.
fn known_fields(text: &str) -> RayClusterFleet {
    let document = check::documents(text).unwrap().swap_remove(0);
    let typed: RayClusterFleet = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap()["spec"], document["spec"]);
    typed
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A new directory, which the test removes.
fn scratch(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("rayfleet-template-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

#[test]
fn a_manifest_over_two_nodes() {
    insta::assert_snapshot!(printed("template deepseek-r1 --gpu h100 --max-model-len 65536 --replicas 2"));
}

#[test]
fn a_manifest_of_one_pod_has_no_workers() {
    let text = printed("template gpt-oss-120b --gpu h200 -n models");
    known_fields(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn a_manifest_with_a_profile_and_all_that_may_stand_beside_it() {
    let profile = repository().join("examples/profiles/site.yaml");
    let mut line = words(
        "template kimi-k2 --gpu mi300x --precision fp8 -n models --name kimi --max-surge 1 --volcano llm --gateway infra/llm \
         --hostname kimi.example.com --kv-cache-dtype fp8 --set rdmaCount=1 --set labels.tier=gold --profile",
    );
    line.push(profile.display().to_string());
    let (text, done) = run_words(&line);
    done.unwrap();
    known_fields(&text);
    insta::assert_snapshot!(text.replace(&profile.display().to_string(), "site.yaml"));
}

#[test]
fn a_group_over_nodes_has_the_networks_of_its_site() {
    let text = printed(
        "template deepseek-r1 --gpu h100 --set rdmaResource=rdma/ib --set rdmaCount=8 --set topologyKey=rack \
         --set networkInterface=ib0 --set claim=all --set modelPath=/w",
    );
    let spec = known_fields(&text).spec.template.spec;
    let pod = &spec["workerGroupSpecs"][0]["template"]["spec"];
    assert_eq!(pod, &spec["headGroupSpec"]["template"]["spec"]);
    let container = &pod["containers"][0];
    for kind in ["requests", "limits"] {
        assert_eq!(container["resources"][kind]["rdma/ib"], "8");
        assert_eq!(container["resources"][kind]["nvidia.com/gpu"], "8");
    }
    assert_eq!(
        (&container["env"][0]["value"], &container["env"][1]["value"]),
        (&"ib0".into(), &"ib0".into())
    );
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/w");
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "all");
    let near = &pod["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(near["podAffinityTerm"]["topologyKey"], "rack");
    assert_eq!(near["podAffinityTerm"]["matchLabelKeys"][0], "rayfleet.io/group");
    let apart = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(apart["topologyKey"], "kubernetes.io/hostname");
}

#[test]
fn pods_have_the_environment_and_the_size_of_their_site() {
    let profile = repository().join("examples/profiles/local.yaml");
    let mut line = words(
        "template gpt-oss-120b --gpu h200 --tensor 2 --set env.A=b --set env.HF_HUB_OFFLINE=0 --profile",
    );
    line.push(profile.display().to_string());
    let (text, done) = run_words(&line);
    done.unwrap();
    let spec = known_fields(&text).spec.template.spec;
    let pod = &spec["headGroupSpec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let variables = container["env"].as_array().unwrap();
    let named = |name: &str| {
        variables.iter().filter(|found| found["name"] == name).map(|found| found["value"].clone()).collect()
    };
    let only = |value: &str| vec![Value::from(value)];
    let found: [Vec<Value>; 4] = ["A", "HF_HUB_OFFLINE", "VLLM_CPU_RAY", "VLLM_NO_USAGE_STATS"].map(named);
    assert_eq!(found, ["b", "0", "1", "1"].map(only), "each once, the site's in place of the manifest's");
    let resources = &container["resources"];
    assert_eq!(
        (&resources["requests"]["cpu"], &resources["requests"]["memory"]),
        (&"500m".into(), &"6Gi".into())
    );
    assert_eq!(resources["limits"]["memory"], "12Gi");
    assert_eq!(pod["volumes"][1]["emptyDir"]["sizeLimit"], "3Gi");
}

#[test]
fn the_catalogue_is_listed_without_a_model() {
    insta::assert_snapshot!(printed("template"));
    let listed: Value = serde_json::from_str(&printed("template -o json")).unwrap();
    assert_eq!(listed["models"][0]["precisions"][0]["repository"], "deepseek-ai/DeepSeek-R1");
    assert_eq!(listed["gpus"][2]["name"], "h100");
}

#[test]
fn an_explanation_is_text_or_a_document() {
    let text = printed("template llama-3.1-405b --gpu h100 --max-model-len 32768 --explain");
    assert!(text.contains("chosen: 2 nodes with 8 GPUs, tensor 8 × pipeline 2"), "{text}");
    assert!(text.contains("the one with the most tensor ranks is taken"), "{text}");
    let document = printed("template llama-3.1-405b --gpu h100 --max-model-len 32768 --explain -o json");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["chosen"]["shape"]["tensor"], 8);
    assert_eq!(document["demand"]["context"], 32_768);
    let (text, done) = run_words(&words("template kimi-k2 --gpu l40s --max-nodes 1 --explain"));
    assert!(text.contains("no shape fits on up to 1 node"), "{text}");
    assert_eq!(done.unwrap_err().code(), 1, "it does not fit, whatever is printed");
}

#[test]
fn a_model_may_be_called_by_its_repository() {
    let by = |line: &str| known_fields(&printed(line)).spec.model.unwrap().source;
    assert_eq!(by("template nvidia/GLM-5-nvfp4 --gpu H200"), "/models/GLM-5-NVFP4");
    assert_eq!(by("template GLM-5 --gpu h200"), "/models/GLM-5-FP8");
    assert!(
        refused("template zai-org/GLM-5 --gpu h200 --precision fp8")
            .message
            .contains("is not in the catalogue")
    );
}

#[test]
fn one_model_for_programs_is_one_object() {
    let one: Value = serde_json::from_str(&printed("template gpt-oss-120b --gpu h200 -o json")).unwrap();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&"RayClusterFleet".into(), &"gpt-oss-120b".into()));
    let two = printed("template gpt-oss-120b --gpu h200 --gateway llm -o json");
    let two: Value = serde_json::from_str(&two).unwrap();
    assert_eq!((&two["kind"], &two["items"][1]["kind"]), (&"List".into(), &"HTTPRoute".into()));
    assert_eq!(two["items"][0], one);
}

#[test]
fn a_queue_of_kueue_is_a_label_of_each_raycluster() {
    let fleet = known_fields(&printed("template gpt-oss-120b --gpu h200 --kueue llm"));
    let labels = fleet.spec.template.metadata.unwrap().labels;
    assert_eq!(labels.get("kueue.x-k8s.io/queue-name").map(String::as_str), Some("llm"));
}

#[test]
fn errors_name_what_is_wrong_and_the_cure() {
    let lines = [
        "template deepsek-r1 --gpu h100",
        "template kimi-k2 --gpu h10",
        "template mistral-large-3 --gpu h200",
        "template deepseek-r1 --gpu h100 --precision int2",
        "template --gpu h100",
        "template deepseek-r1 --gpu h100 --context 65536",
        "template deepseek-r1 --gpu h100 --max-model-len 999999999",
        "template deepseek-r1 --gpu h100 --sequences 9 --max-num-seqs 8",
        "template kimi-k2 --gpu l40s --max-nodes 2",
        "template kimi-k2 --gpu h200 --tensor 8 --pipeline 1",
        "template kimi-k2 --gpu h200 --tensor 8 --pipeline 3 --max-nodes 2",
        "template llama-3.1-405b --gpu h200 --gpus-per-node 6 --tensor 6",
        "template gpt-oss-120b --gpu h200 --name A_b",
        "template gpt-oss-120b --gpu h200 --engine-arg=--port=1",
        "template gpt-oss-120b --gpu h200 --served-model-name=",
        "template gpt-oss-120b --gpu h200 --kueue a/b",
        "template gpt-oss-120b --gpu h200 --gateway a/b/c",
        "template gpt-oss-120b --gpu h200 --set imge=x",
        "template gpt-oss-120b --gpu h200 --set zzzz=x",
        "template gpt-oss-120b --gpu h200 --set image",
        "template gpt-oss-120b --gpu h200 --set labels.app=x",
        "template gpt-oss-120b --gpu h200 --set rdmaCount=many",
        "template gpt-oss-120b --gpu h200 --storage-bandwidth 1KB",
        "template gpt-oss-120b --gpu h200 --profile /does/not/exist",
    ];
    let texts: Vec<String> = lines
        .iter()
        .map(|line| {
            let fault = refused(line);
            format!("$ {line}\n{fault}\nexit code {}\n", fault.code())
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn what_the_parser_refuses_is_a_usage_error() {
    for line in [
        "template deepseek-r1",
        "template deepseek-r1 --gpu h100 --config x",
        "template deepseek-r1 --gpu h100 --safetensors x",
        "template deepseek-r1 --gpu h100 --force",
        "template deepseek-r1 --gpu h100 --explain --output-dir x",
        "template deepseek-r1 --gpu h100 --gpu-memory-utilization 92",
        "template deepseek-r1 --gpu h100 --replicas 501",
        "template deepseek-r1 --gpu h100 --kueue a --volcano b",
    ] {
        let parsed = Cli::try_parse_from(std::iter::once("kubectl-rayfleet").chain(line.split_whitespace()));
        assert_eq!(parsed.unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn a_model_of_files_must_agree_with_its_index() {
    let directory = scratch("files");
    fs::create_dir_all(&directory).unwrap();
    let (config, index) = (directory.join("config.json"), directory.join("index.json"));
    let catalogue = Catalogue::embedded().unwrap();
    let found = catalogue.entry("llama-3.1-405b").unwrap().config.clone().unwrap();
    fs::write(&config, found.to_string()).unwrap();
    let line = |more: &str| {
        let files = format!("--config {} --safetensors {}", config.display(), index.display());
        format!("template {files} --gpu h100 --max-model-len 32768 {more}")
    };
    fs::write(&index, r#"{"metadata": {"total_size": 811706580992}}"#).unwrap();
    let unnamed = refused(&line("")).to_string();
    let named = printed(&line("--name mine"));
    fs::write(&index, r#"{"metadata": {"total_size": 405853290496}}"#).unwrap();
    let other = refused(&line("--name mine"));
    fs::write(&index, "{}").unwrap();
    let silent = refused(&line("--name mine"));
    fs::remove_dir_all(&directory).unwrap();
    assert!(unnamed.contains("give it a --name"), "{unnamed}");
    let fleet = known_fields(&named);
    let model = fleet.spec.model.unwrap();
    assert_eq!((model.name.as_str(), model.source.as_str()), ("mine", "/models/mine"));
    assert!(other.message.contains("total_size is 405.9 GB (405853290496 bytes)"), "{other}");
    assert!(other.message.contains("comes to 811.7 GB"), "{other}");
    assert_eq!((other.kind, silent.kind), (Kind::Usage, Kind::Usage));
    assert!(silent.message.contains("has no metadata.total_size"), "{silent}");
}

#[test]
fn a_directory_is_a_base_of_kustomize_and_is_not_written_over() {
    let directory = scratch("directory");
    let line = format!(
        "template gpt-oss-120b --gpu h200 --set storageClass=files --output-dir {}",
        directory.join("a").display()
    );
    let out = printed(&line);
    let file = |name: &str| fs::read_to_string(directory.join("a").join(name)).unwrap();
    let (fleet, claim, kustomization) = (file("fleet.yaml"), file("claim.yaml"), file("kustomization.yaml"));
    fs::write(directory.join("a/fleet.yaml"), "mine").unwrap();
    let there = refused(&line);
    let kept = file("fleet.yaml");
    printed(&format!("{line} --force"));
    let replaced = file("fleet.yaml");
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(out.lines().count(), 3);
    known_fields(&fleet);
    assert!(claim.contains("storage: 80Gi"), "{claim}");
    assert!(kustomization.contains("resources: [fleet.yaml, claim.yaml]"), "{kustomization}");
    assert!(there.message.contains("fleet.yaml is there already"), "{there}");
    assert_eq!((there.kind, kept.as_str()), (Kind::Usage, "mine"));
    assert!(replaced.starts_with("# gpt-oss 120B"), "{replaced}");
}

#[test]
fn the_command_is_one_line_that_a_shell_takes() {
    let words = ["template", "it's", "a b", "x\ny", ""].map(str::to_owned);
    assert_eq!(command(&words), r"kubectl rayfleet template 'it'\''s' 'a b' 'x y' ''");
}

#[test]
fn several_groups_are_explained_with_what_an_upgrade_needs() {
    let line = "template deepseek-r1 --gpu h100 --max-model-len 32768 --explain";
    let last = |further: &str| printed(&format!("{line} {further}")).lines().last().unwrap().to_owned();
    assert_eq!(
        last("--replicas 2"),
        "2 groups: 4 nodes, 32 GPUs; an upgrade needs no more: groups are replaced in place"
    );
    assert_eq!(
        last("--replicas 2 --max-surge 3"),
        "2 groups: 4 nodes, 32 GPUs; an upgrade needs 32 more, or replaces one group in place"
    );
    assert!(!printed(line).contains("an upgrade needs"), "one group");
}

#[test]
fn data_parallel_engines_are_written_with_shared_experts() {
    let shown = printed("template deepseek-r1 --gpu h200 --max-model-len 32768 --data 2 --tensor 8");
    for wanted in [
        "parallelism: {data: 2, tensor: 8, pipeline: 1}",
        "- --enable-expert-parallel",
        "data parallel 2 x tensor parallel 8 x pipeline parallel 1; 1 group, 16 GPUs.",
    ] {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }
    let dense = refused("template llama-3.1-405b --gpu h200 --data 2");
    assert!(dense.message.contains("has no experts to share"), "{dense}");
}

/// Of the shapes that fit with as many GPUs, the choice has the most tensor ranks, for every model on every GPU.
#[test]
fn the_most_tensor_ranks_are_taken() {
    let catalogue = Catalogue::embedded().unwrap();
    for entry in &catalogue.models {
        for (checkpoint, gpu) in
            entry.precisions.iter().flat_map(|found| catalogue.gpus.iter().map(move |gpu| (found, gpu)))
        {
            let Ok(model) = entry.model(checkpoint) else { continue };
            let choice = choose(
                &model,
                gpu,
                &rayfleet_templates::Demand { context: Some(32_768), ..Default::default() },
            );
            let Some(fit) = &choice.chosen else { continue };
            let alike = choice.alternatives.iter().filter(|other| other.fits() && other.gpus == fit.gpus);
            assert!(
                alike.into_iter().all(|other| other.shape.tensor < fit.shape.tensor),
                "{} {}",
                entry.name,
                gpu.name
            );
        }
    }
}

/// How the examples are written, by file name.
const EXAMPLES: [(&str, &str); 2] = [
    (
        "examples/llama-405b.yaml",
        "template llama-3.1-405b --gpu h100 --max-model-len 32768 --max-num-seqs 128 --replicas 2 --max-surge 1 --name llama-405b \
         --expect Paris",
    ),
    (
        "examples/deepseek-671b.yaml",
        "template deepseek-r1 --gpu h100 --max-model-len 65536 --max-num-seqs 64 --replicas 4 --name deepseek-671b \
         --served-model-name deepseek-r1-671b",
    ),
];
const UPDATE: &str = "RAYFLEET_UPDATE=1 cargo test -p kubectl-rayfleet the_examples_are_what_is_printed";

#[test]
fn the_examples_are_what_is_printed() {
    for (file, line) in EXAMPLES {
        let (path, wanted) = (repository().join(file), printed(line));
        if env::var("RAYFLEET_UPDATE").is_ok_and(|value| value == "1") {
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        let same = found.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
        assert!(
            found == wanted,
            "{file} differs from `kubectl rayfleet {line}` from line {} on\ncure: {UPDATE}",
            same + 1
        );
    }
}
