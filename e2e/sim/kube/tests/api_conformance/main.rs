//! Fidelity of the simulated API server: the same sequences of requests are sent to it and, with
//! `RAYFLEET_E2E=1`, to the real one of the kubeconfig's cluster; the normalized answers must be the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

mod answer;
mod bench;
mod sequences;
mod step;

use std::sync::Arc;

use bench::{Bench, Target};
use rayfleet_sim_kube::api::{ApiServer, Passthrough};
use serde_json::Value;
use step::Sequence;

async fn simulated(sequence: &Sequence) -> Vec<Value> {
    let server = ApiServer::new();
    let client = server.client("conformance", "default", Arc::new(Passthrough));
    Bench::new(client, Target::Simulated(server)).run(sequence).await.unwrap()
}

/// Differences between two lists of answers, one paragraph for each step.
fn differences(sequence: &Sequence, left: (&str, &[Value]), right: (&str, &[Value])) -> Vec<String> {
    let mut found = Vec::new();
    for (index, step) in sequence.steps.iter().enumerate() {
        let (one, other) = (&left.1[index], &right.1[index]);
        if one != other {
            let place = format!("{}, step {} ({})", sequence.name, index + 1, step.title());
            found.push(format!("{place}\n  {}: {one}\n  {}: {other}", left.0, right.0));
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn the_simulated_server_answers_as_expected() {
    let mut found = Vec::new();
    for sequence in sequences::all() {
        let answers = simulated(&sequence).await;
        let expected: Vec<Value> = sequence.steps.iter().map(|step| step.expected.clone()).collect();
        found.extend(differences(&sequence, ("expected", &expected), ("simulated", &answers)));
    }
    assert!(found.is_empty(), "{} steps differ:\n{}", found.len(), found.join("\n"));
}

/// Answers of the simulated server; in a separate runtime, as its clock is paused.
fn answers_of_simulation() -> Vec<Vec<Value>> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut all = Vec::new();
        for sequence in sequences::all() {
            all.push(simulated(&sequence).await);
        }
        all
    })
}

#[test]
fn the_real_server_answers_as_the_simulated_one() {
    if std::env::var("RAYFLEET_E2E").as_deref() != Ok("1") {
        eprintln!("RAYFLEET_E2E=1 is not set: only the simulated server was tested");
        return;
    }
    let simulated = answers_of_simulation();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(async {
        let mut config = kube::Config::infer().await.unwrap();
        // Some answers have Retry-After headers; a retrying client would hide them.
        config.default_retry = false;
        let client = kube::Client::try_from(config).unwrap();
        let mut found = Vec::new();
        for (sequence, simulated) in sequences::all().iter().zip(&simulated) {
            match Bench::new(client.clone(), Target::Real).run(sequence).await {
                Ok(real) => found.extend(differences(sequence, ("simulated", simulated), ("real", &real))),
                Err(error) => found.push(format!("{}: {error:#}", sequence.name)),
            }
        }
        found
    });
    assert!(found.is_empty(), "{} steps differ:\n{}", found.len(), found.join("\n"));
}
