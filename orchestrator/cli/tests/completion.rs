//! Completion as kubectl and a shell ask for it: the program itself, an API server that answers and one that does not.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs, thread};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-rayfleet");

/// A folder with the program under a name.
fn folder(test: &str, name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("rayfleet-completion-{test}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let link = folder.join(name);
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(PROGRAM, link).unwrap();
    folder
}

/// What kubectl is answered; nothing may stand on the terminal besides.
fn asked(test: &str, words: &[&str]) -> String {
    let folder = folder(test, "kubectl_complete-rayfleet");
    let answer = Command::new(folder.join("kubectl_complete-rayfleet"))
        .args(words)
        .env("KUBECONFIG", "/nowhere/at/all")
        .output()
        .unwrap();
    fs::remove_dir_all(folder).unwrap();
    text(&answer)
}

fn text(answer: &Output) -> String {
    assert!(answer.status.success(), "{answer:?}");
    assert_eq!(String::from_utf8_lossy(&answer.stderr), "");
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

/// The address of an API server that answers every request with two fleets, or accepts and says nothing.
fn api_server(answers: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut open = Vec::new();
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            if answers {
                let _ = socket.read(&mut [0; 4_096]).unwrap();
                let item = |name: &str| {
                    format!(
                        r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{{"name":"{name}"}}}}"#
                    )
                };
                let items = [item("llama"), item("$(reboot)"), item("mistral")].join(",");
                let list = format!(
                    r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadataList","metadata":{{}},"items":[{items}]}}"#
                );
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                write!(socket, "{head}\r\ncontent-length: {}\r\n\r\n{list}", list.len()).unwrap();
            } else {
                open.push(socket);
            }
        }
    });
    address
}

#[test]
fn kubectl_is_answered_in_its_words() {
    let answer = asked("words", &["rollout", "un"]);
    assert_eq!(answer, "undo\tGo back to an earlier revision of template and model\n:4\n");
}

#[test]
fn fleets_come_from_the_cluster_that_was_named() {
    let server = api_server(true);
    assert_eq!(asked("fleets", &["status", "--server", &server, ""]), "llama\nmistral\n:4\n");
    assert_eq!(asked("begun", &["--server", &server, "rollout", "undo", "m"]), "mistral\n:4\n");
}

#[test]
fn a_cluster_that_does_not_answer_completes_nothing() {
    assert_eq!(asked("silent", &["status", "--server", &api_server(false), ""]), ":4\n");
    assert_eq!(asked("refused", &["status", "--server", "http://127.0.0.1:1", ""]), ":4\n");
    assert_eq!(asked("none", &["status", ""]), ":4\n");
}

#[test]
fn bash_completes_by_the_script() {
    let folder = folder("bash", "kubectl-rayfleet");
    let script = "source <(kubectl-rayfleet completion bash)
        COMP_WORDS=(kubectl-rayfleet rollout un) COMP_CWORD=2
        _clap_complete_kubectl_rayfleet kubectl-rayfleet un rollout 2>/dev/null
        echo \"${COMPREPLY[@]}\"";
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap());
    let answer = Command::new("bash").args(["-c", script]).env("PATH", path).output().unwrap();
    fs::remove_dir_all(folder).unwrap();
    assert_eq!(text(&answer), "undo\n");
}
