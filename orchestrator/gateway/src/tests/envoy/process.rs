//! An Envoy as a process of its own, on ports of loopback that it chooses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::super::CHAT;
use super::super::bench::Bench;
use super::wire::Wire;

/// Environment variable: the program.
const PROGRAM: &str = "RAYFLEET_ENVOY";
const START: Duration = Duration::from_secs(20);

/// A running Envoy. It ends with this.
pub(super) struct Envoy {
    address: SocketAddr,
    client: reqwest::Client,
    folder: PathBuf,
    picker: Wire,
    _process: Child,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Envoy {
    /// Starts it with an example, in which the addresses are those of this gateway and its engines.
    pub(super) async fn start(example: &str, bench: &Bench) -> Self {
        Self::changed(example, bench, &[]).await
    }

    /// And each first text is replaced by the second.
    pub(super) async fn changed(example: &str, bench: &Bench, changes: &[(&str, &str)]) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/envoy").join(example);
        let picker = Wire::new(bench.picker()).await;
        let mut configuration = addressed(&std::fs::read_to_string(file).unwrap(), &picker, bench);
        for (from, to) in changes {
            replace(&mut configuration, from, to);
        }
        Self::run(&configuration, picker).await
    }

    async fn run(configuration: &str, picker: Wire) -> Self {
        let program = std::env::var_os(PROGRAM).expect("RAYFLEET_ENVOY names no Envoy: run hack/envoy");
        let folder = std::env::temp_dir().join(format!("rayfleet-envoy-{:x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        let (file, admin, log) = (folder.join("envoy.yaml"), folder.join("admin"), folder.join("log"));
        std::fs::write(&file, configuration).unwrap();
        let process = Command::new(program)
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            .arg("--config-path")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = reqwest::Client::new();
        let address = tokio::time::timeout(START, listening(&client, &admin)).await;
        let address = address.unwrap_or_else(|_| panic!("{}", std::fs::read_to_string(&log).unwrap()));
        Self { address, client, folder, picker, _process: process }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The picker dies.
    pub(super) async fn cut(&self) {
        self.picker.cut().await;
    }

    /// And comes back.
    pub(super) async fn mend(&self) {
        self.picker.mend().await;
    }

    /// Asks a model something short.
    pub(super) async fn ask(&self) -> reqwest::Response {
        self.post(CHAT, r#"{"model": "llama"}"#).send().await.unwrap()
    }

    /// Asks until this is the answer.
    pub(super) async fn until(&self, status: StatusCode) {
        let asking = async {
            while self.ask().await.status() != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("it never came");
    }

    pub(super) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap()
    }

    pub(super) fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address)).body(body)
    }
}

/// Waits until it takes clients, and gives their address.
async fn listening(client: &reqwest::Client, admin: &Path) -> SocketAddr {
    loop {
        if let Ok(admin) = std::fs::read_to_string(admin)
            && let Ok(ready) = client.get(format!("http://{admin}/ready")).send().await
            && ready.status().is_success()
        {
            let url = format!("http://{admin}/listeners?format=json");
            let page = client.get(url).send().await.unwrap().text().await.unwrap();
            let page: Value = serde_json::from_str(&page).unwrap();
            let address = &page["listener_statuses"][0]["local_address"]["socket_address"];
            let port = address["port_value"].as_u64().unwrap();
            return SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An example with other addresses: its own for clients and administrators are any that are free.
fn addressed(example: &str, picker: &Wire, bench: &Bench) -> String {
    let at = |address: SocketAddr| format!("address: {}, port_value: {}", address.ip(), address.port());
    let mut text = example.to_owned();
    let own = "address: 127.0.0.1, port_value: 0";
    replace(&mut text, "address: 127.0.0.1, port_value: 9901", own);
    replace(&mut text, "address: 0.0.0.0, port_value: 8000", own);
    replace(&mut text, "address: rayfleet-gateway.team-a, port_value: 9002", &at(picker.address()));
    let heads = "{endpoint: {address: {socket_address: {address: heads.team-a, port_value: 8000}}}}";
    if text.contains(heads) {
        let endpoint = |head| format!("{{endpoint: {{address: {{socket_address: {{{}}}}}}}}}", at(head));
        let endpoints: Vec<String> = bench.heads().iter().map(|head| endpoint(*head)).collect();
        replace(&mut text, heads, &endpoints.join(", "));
    }
    text
}

/// Replaces a text that is there once.
fn replace(text: &mut String, from: &str, to: &str) {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    *text = text.replace(from, to);
}
