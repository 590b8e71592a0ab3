//! Prints what `kubectl rayfleet status -A` takes for 1,000 fleets with 10,000 groups: seconds, those of them after the
//! API server's last byte, and the most memory that the program had. The server is this program and answers at once.
//!
//!     cargo bench -p kubectl-rayfleet --bench status

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "measures and prints; an error ends it"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};

const FLEETS: usize = 1_000;
const GROUPS: usize = 10;
const RANKS: usize = 16;

fn main() {
    let objects: Arc<Vec<String>> = Arc::new((0..FLEETS).map(|number| fleet(number).to_string()).collect());
    let bytes: usize = objects.iter().map(String::len).sum();
    println!("{FLEETS} fleets, {} groups, {:.1} MB", FLEETS * GROUPS, megabytes(bytes));
    println!("{:<14} {:>9} {:>15} {:>12}", "output", "seconds", "after the last", "memory");
    for output in [&[][..], &["-o", "wide"], &["-o", "name"], &["-o", "json"], &["-o", "yaml"]] {
        let (seconds, after, memory) = run(&objects, output);
        let name = output.last().unwrap_or(&"table");
        println!("{name:<14} {seconds:>9.2} {after:>15.2} {:>9.1} MB", megabytes(memory));
    }
}

fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap_or(u32::MAX)) / 1_000.0
}

/// Seconds in all, seconds after the server's last byte, and bytes of memory.
fn run(objects: &Arc<Vec<String>>, output: &[&str]) -> (f64, f64, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let last = Arc::new(Mutex::new(Instant::now()));
    let (served, sent) = (Arc::clone(objects), Arc::clone(&last));
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (served, sent) = (Arc::clone(&served), Arc::clone(&sent));
            thread::spawn(move || serve(socket.unwrap(), &served, &sent));
        }
    });
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-rayfleet"))
        .args(["status", "-A", "--server", &address])
        .args(output)
        .env_remove("KUBECONFIG")
        .env("HOME", env::temp_dir().join("rayfleet-no-home"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut memory = 0;
    let status = loop {
        let file = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = file
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        memory = memory.max(peak.unwrap_or(0_usize) * 1_024);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "{status}");
    (start.elapsed().as_secs_f64(), last.lock().unwrap().elapsed().as_secs_f64(), memory)
}

/// Answers lists, a page at a time.
fn serve(socket: TcpStream, objects: &[String], sent: &Mutex<Instant>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut writer = socket;
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let query = first.split([' ', '?', '&']).filter_map(|part| part.split_once('='));
        let find = |name: &str| {
            query.clone().find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
        };
        let (from, limit) = (find("continue").unwrap_or(0), find("limit").unwrap_or(FLEETS));
        let to = (from + limit).min(objects.len());
        let metadata = if to < objects.len() { json!({"continue": to.to_string()}) } else { json!({}) };
        let items = objects[from..to].join(",");
        let body = format!(
            r#"{{"apiVersion":"orchestration.aibrix.ai/v1alpha1","kind":"RayClusterFleetList","metadata":{metadata},"items":[{items}]}}"#
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes())).unwrap();
        *sent.lock().unwrap() = Instant::now();
    }
}

/// A fleet that serves: two stages of eight tensor ranks a group.
fn fleet(number: usize) -> Value {
    let name = format!("model-{number:04}");
    let pod = json!({"spec": {"containers": [{
        "name": "ray", "image": "registry.example.com/vllm-ray:1", "resources": {"limits": {"nvidia.com/gpu": "8"}}
    }]}});
    let groups: Vec<Value> = (0..GROUPS)
        .map(|slot| {
            let node = |stage: usize| format!("node-{:05}", (number * GROUPS + slot) * 2 + stage);
            let placement: Vec<Value> = (0..RANKS)
                .map(|rank| json!({"rank": rank, "tensor": rank % 8, "stage": rank / 8, "node": node(rank / 8)}))
                .collect();
            json!({
                "name": format!("{name}-bcdfgh-{slot}"), "slot": slot, "revision": "bcdfgh", "engineRevision": "kmnpqr",
                "phase": "Ready", "phaseSince": "2026-03-01T12:00:00Z", "goal": "Serve",
                "head": format!("{name}-bcdfgh-{slot}-head-x2b4f"), "nodes": [node(0), node(1)], "ranks": "16/16",
                "placement": placement, "inFlight": 7, "restarts": 0
            })
        })
        .collect();
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
        "metadata": {
            "name": name, "namespace": format!("team-{}", number % 20), "generation": 4,
            "creationTimestamp": "2026-03-01T10:00:00Z"
        },
        "spec": {
            "replicas": GROUPS, "selector": {"matchLabels": {"app": "llama"}},
            "template": {"metadata": {"labels": {"app": "llama"}}, "spec": {
                "headGroupSpec": {"template": pod},
                "workerGroupSpecs": [{"groupName": "workers", "replicas": 1, "template": pod}]
            }},
            "model": {"name": "llama-3.1-405b", "parallelism": {"tensor": 8, "pipeline": 2}}
        },
        "status": {
            "observedGeneration": 4, "replicas": GROUPS, "updatedReplicas": GROUPS, "readyReplicas": GROUPS,
            "availableReplicas": GROUPS, "groups": groups, "rollout": {"step": "Complete", "to": "bcdfgh/kmnpqr"}
        }
    })
}
