//! Whatever ends `support-bundle`, no unfinished file stays.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_signal_leaves_no_file() {
    // Takes connections, and never answers.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", server.local_addr().unwrap());
    for signal in ["TERM", "HUP", "INT"] {
        let directory = tempfile::tempdir().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-rayfleet"))
            .args([
                "support-bundle",
                "llama",
                "-o",
                "b.zip",
                "--request-timeout",
                "60s",
                "--server",
                &address,
            ])
            .env("KUBECONFIG", "/nonexistent")
            .current_dir(&directory)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // When it asks, it has begun its file and listens to signals.
        let asked = server.accept().unwrap();
        assert!(files(directory.path())[0].starts_with(".rayfleet-bundle-"));
        let sent = Command::new("kill").args(["-s", signal, &program.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(program.wait().unwrap().code(), Some(1), "{signal}");
        assert_eq!(files(directory.path()), Vec::<String>::new(), "{signal}");
        drop(asked);
    }
}
