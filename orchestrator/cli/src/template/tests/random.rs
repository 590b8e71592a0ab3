//! Any model, GPU and options: a manifest that is valid, or an error with a cure.

use clap::Parser;
use proptest::prelude::*;
use rayfleet_api::RayClusterFleet;
use rayfleet_cli_kit::Kind;
use rayfleet_sim_kube::api::{ApiServer, Kind as Resource};
use rayfleet_templates::Catalogue;
use serde_json::json;

use super::{known_fields, run_words, words};
use crate::args::Cli;

/// A command line of any model, GPU and options, with values that would break YAML if they were not quoted.
fn any_line() -> impl Strategy<Value = Vec<String>> {
    let catalogue = Catalogue::embedded().unwrap();
    let models: Vec<(String, String)> = catalogue
        .models
        .iter()
        .flat_map(|entry| entry.precisions.iter().map(|found| (entry.name.clone(), found.name.clone())))
        .collect();
    let gpus: Vec<String> = catalogue.gpus.iter().map(|gpu| gpu.name.clone()).collect();
    let odd = || "[a-z0-9]{1,8}|[-: #{}\\[\\],&*!|>'\"%@`\n\té~]{1,8}";
    let option = prop_oneof![
        prop::sample::select(vec![
            "--max-model-len=4096",
            "--max-model-len=131072",
            "--sequences=4",
            "--sequences=200",
            "--max-num-seqs=256",
            "--gpus-per-node=4",
            "--gpus-per-node=6",
            "--gpus-per-node=72",
            "--max-nodes=2",
            "--max-nodes=128",
            "--gpu-memory-utilization=0.5",
            "--gpu-memory-utilization=1",
            "--kv-cache-dtype=fp8",
            "--tensor=4",
            "--tensor=8",
            "--pipeline=3",
            "--replicas=500",
            "--max-surge=500",
            "--storage-bandwidth=1KB",
            "--storage-bandwidth=40GB/s",
            "--kueue=q",
            "--gateway=a/b",
            "--set=rdmaResource=rdma/ib",
            "--set=storageClass=fast",
            "--set=topologyKey=rack",
            "--set=tolerations=[{key: a, operator: Exists}]",
            "--set=nodeSelector.pool=true",
            "--set=labels.on=off",
            "--set=serviceAccount=a",
            "--set=imagePullSecrets=[a, b]",
            "--set=registry=localhost:5000",
        ])
        .prop_map(str::to_owned),
        (
            prop::sample::select(vec![
                "--set=image",
                "--set=rayVersion",
                "--set=networkInterface",
                "--served-model-name",
                "--source",
                "--engine-arg",
                "--expect",
                "--name",
                "--set=modelPath",
                "--set=claim",
                "--set=labels.x"
            ]),
            odd()
        )
            .prop_map(|(option, value)| format!("{option}={value}")),
    ];
    let options = prop::collection::btree_map(any::<u8>(), option, 0..6);
    (prop::sample::select(models), prop::sample::select(gpus), options).prop_map(
        |((model, precision), gpu, options)| {
            let mut words = words(&format!("template {model} --precision {precision} --gpu {gpu}"));
            words.extend(options.into_values());
            words
        },
    )
}

/// The API server takes it, by the CRD's schema and rules.
fn admitted(fleet: &RayClusterFleet) {
    let server = ApiServer::new();
    server.create(&Resource::NAMESPACE, json!({"metadata": {"name": "serving"}})).unwrap();
    let mut object = json!(fleet);
    object["metadata"]["namespace"] = "serving".into();
    if let Err(refusal) = server.create(&Resource::FLEET, object) {
        panic!("{refusal:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_asked_is_a_valid_manifest_or_an_error_with_a_cure(words in any_line()) {
        // An option that is there twice is refused by the parser.
        let program = std::iter::once("kubectl-rayfleet".to_owned());
        prop_assume!(Cli::try_parse_from(program.chain(words.iter().cloned())).is_ok());
        let (out, done) = run_words(&words);
        match done {
            Ok(()) => {
                let fleet = known_fields(&out);
                admitted(&fleet);
                prop_assert_eq!(out.lines().take_while(|line| line.starts_with("# ")).count(), 3);
                let value = |name: &str| {
                    words.iter().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
                };
                let model = fleet.spec.model.clone().unwrap();
                if let Some(name) = value("--served-model-name") {
                    prop_assert_eq!(&model.name, &name);
                }
                if let Some(image) = value("--set=image").filter(|_| value("--set=registry").is_none()) {
                    prop_assert_eq!(&fleet.spec.template.spec["headGroupSpec"]["template"]["spec"]["containers"][0]["image"], &image);
                }
            }
            Err(fault) => {
                prop_assert_eq!(&out, "");
                prop_assert!(fault.cure.is_some() && (1..=2).contains(&fault.code()), "{}", fault);
            }
        }
    }
}

/// Not every model fits on every GPU, but most do, with a short context.
#[test]
fn every_model_has_a_manifest_on_most_gpus() {
    let catalogue = Catalogue::embedded().unwrap();
    let (mut fitting, mut all) = (0, 0);
    for entry in catalogue.models.iter().filter(|entry| entry.config.is_some()) {
        for gpu in &catalogue.gpus {
            let line =
                format!("template {} --gpu {} --max-model-len 8192 --max-nodes 32", entry.name, gpu.name);
            let (out, done) = run_words(&words(&line));
            all += 1;
            match done {
                Ok(()) => fitting += usize::from(known_fields(&out).spec.model.is_some()),
                Err(fault) => assert_eq!(fault.kind, Kind::Failed, "{line}: {fault}"),
            }
        }
    }
    assert!(fitting * 10 > all * 9, "{fitting} of {all}");
}
