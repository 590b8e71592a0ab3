//! Bundles of strangers: broken, lying and huge ones are refused or read in part, without panic and in bounded memory.

use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{cluster, made, passing, printed};
use crate::bundle;

const LINES: [&str; 8] = [
    "status",
    "status -A",
    "map llama",
    "top",
    "events -A",
    "diagnose",
    "plan llama",
    "logs llama --rank 0 --kuberay --engine",
];

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn manifest(entries: &Value) -> Vec<u8> {
    json!({
        "format": 1, "at": "2030-01-01T00:10:00Z", "madeBy": "\u{1b}[2Jx", "entries": entries,
        "scope": {"namespace": "serving\u{1b}[2J", "defaultNamespace": "serving"}
    })
    .to_string()
    .into_bytes()
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.zip");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// Every command on it; why it is refused, if it is.
async fn read(path: &Path) -> Option<String> {
    let fleets = match bundle::open(path, Some("serving"), Duration::from_secs(1)) {
        Ok(fleets) => fleets,
        Err(fault) => {
            assert_eq!(fault.code(), 2, "{fault}");
            return Some(fault.message);
        }
    };
    assert!(!fleets.server.contains('\u{1b}'));
    for line in LINES {
        let (_, out, said) = printed(line, &fleets).await;
        assert!(!out.contains('\u{1b}') && !said.contains('\u{1b}'), "{line}: {out}{said}");
    }
    None
}

#[tokio::test(start_paused = true)]
async fn what_is_no_bundle_is_refused_with_its_reason() {
    let mut claims = zipped(&[("manifest.json", &manifest(&json!([])))]);
    let end = claims.len();
    claims[end - 12..end - 10].copy_from_slice(&u16::MAX.to_le_bytes());
    let mut broken = zipped(&[("manifest.json", &manifest(&json!([])))]);
    broken.truncate(broken.len() - 30);
    let many: Vec<Value> = (0..20_001).map(|_| json!({"path": "/", "what": "list"})).collect();
    for (bytes, why) in [
        (b"".to_vec(), "it is no bundle"),
        (b"PK".to_vec(), "it is no bundle"),
        (b"x".repeat(10_000), "it is no bundle"),
        (broken, "it is not complete"),
        (claims, "more files than a bundle"),
        (zipped(&[("other", b"")]), "manifest.json"),
        (zipped(&[("manifest.json", b"{")]), "manifest.json: "),
        (zipped(&[("manifest.json", b"{\"format\": 2}")]), "another version wrote it"),
        (zipped(&[("manifest.json", b"{\"format\": 1}")]), "missing field"),
        (zipped(&[("manifest.json", &manifest(&json!(many)))]), "more than 20000 entries"),
        (zipped(&[("manifest.json", &manifest(&json!({"a": 1})))]), "manifest.json: "),
        (zipped(&[("manifest.json", "[".repeat(1_000_000).as_bytes())]), "manifest.json: "),
        (zipped(&[("manifest.json", &vec![b' '; 2 << 20])]), "larger than a bundle's files"),
    ] {
        let (_directory, path) = written(&bytes);
        let said = read(&path).await.unwrap_or_default();
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(read(Path::new("/nowhere/b.zip")).await.is_some());
    assert!(read(&std::env::temp_dir()).await.unwrap().contains("no regular file"));
}

#[tokio::test(start_paused = true)]
async fn what_a_manifest_says_is_not_believed() {
    let fleets = "/apis/orchestration.aibrix.ai/v1alpha1/namespaces/serving/rayclusterfleets";
    let list = |file: &str| json!([{"path": fleets, "what": "list", "file": file}]);
    let outside = std::env::temp_dir().join(format!("rayfleet-outside-{}", std::process::id()));
    std::fs::write(&outside, "{\"items\": []}").unwrap();
    let deep = format!("{{\"items\": [{}]}}", "[".repeat(200_000));
    let odd = r#"{"items": [1, null, "x", {"metadata": 7}, {"metadata": {"name": "a\u001b[2J", "namespace": "serving"}, "spec": [], "status": "x"}]}"#;
    let bomb = vec![b' '; 5 << 20];
    for (entries, content) in [
        (list("../../../../etc/passwd"), &b"x"[..]),
        (list(outside.to_str().unwrap()), b"x"),
        (list("a"), b"\xff\xfe"),
        (list("a"), b"{\"items\": 7}"),
        (list("a"), deep.as_bytes()),
        (list("a"), odd.as_bytes()),
        (list("a"), &bomb),
        (
            json!([{"path": fleets, "what": "list", "fault": {"code": 65535, "reason": "\u{1b}", "message": "\u{1b}[2J"}}]),
            b"",
        ),
        (json!([{"path": fleets, "what": "list", "fault": {"code": 101, "message": ""}}]), b""),
        (
            json!([{"path": "", "what": "answer"}, {"path": "//", "query": "%%%", "what": "log", "file": "a"}]),
            b"x",
        ),
        (json!(vec![json!({"path": "/api/v1/pods", "what": "list", "file": "a"}); 500]), odd.as_bytes()),
    ] {
        let (_directory, path) = written(&zipped(&[("manifest.json", &manifest(&entries)), ("a", content)]));
        assert_eq!(read(&path).await, None, "{entries:.200}");
    }
    std::fs::remove_file(outside).unwrap();
}

#[test]
fn a_damaged_bundle_is_read_or_refused() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let whole = runtime().block_on(async {
        let (_directory, path, ..) = made("", &passing(&cluster())).await;
        std::fs::read(path).unwrap()
    });
    let length = whole.len();
    proptest!(ProptestConfig { cases: 24, ..ProptestConfig::default() }, |(
        damages in prop::collection::vec((0..length, any::<u8>()), 1..40), cut in prop::option::weighted(0.2, 0..length)
    )| {
        let mut bytes = whole.clone();
        for (at, byte) in damages {
            bytes[at] = byte;
        }
        bytes.truncate(cut.unwrap_or(length));
        let (_directory, path) = written(&bytes);
        runtime().block_on(read(&path));
    });
}
