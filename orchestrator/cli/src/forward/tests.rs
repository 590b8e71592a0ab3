//! Forwards to simulated heads, and through an API server that speaks the protocol.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use rayfleet_api::PodName;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_cli_kit::{CliError, Format, Terminal};
use rayfleet_sim_kube::api::Kind;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::args::{Address, ForwardArgs, Ports};
use super::dial::{ApiServer, Dial, Line};
use super::forward;
use crate::sample;
use crate::simulated::{Simulated, fleets};

/// Heads that answer with their name and the port, but for those that are down or closed.
#[derive(Clone, Default)]
struct Heads {
    down: Arc<Mutex<BTreeSet<PodName>>>,
    closed: Arc<Mutex<BTreeSet<PodName>>>,
}

impl Dial for Heads {
    type Stream = DuplexStream;

    async fn is_open(&self, head: &PodName) -> bool {
        !self.closed.lock().unwrap().contains(head)
    }

    async fn dial(&self, head: &PodName, port: u16) -> Result<Line<DuplexStream>, String> {
        if self.down.lock().unwrap().contains(head) {
            return Err("connection refused".to_owned());
        }
        let (stream, mut engine) = duplex(64);
        let answer = format!("{head}:{port}");
        tokio::spawn(async move { engine.write_all(answer.as_bytes()).await });
        Ok(Line { stream, fault: futures::future::ready(None).boxed(), end: None })
    }
}

fn serving() -> kube::core::DynamicObject {
    let mut fleet = sample::upgrading();
    for group in fleet.data["status"]["groups"].as_array_mut().unwrap() {
        (group["phase"], group["goal"]) = (json!("Ready"), json!("Serve"));
    }
    fleet
}

fn args() -> ForwardArgs {
    ForwardArgs {
        fleet: "llama".into(),
        ports: Ports { local: Some(0), remote: None },
        group: None,
        address: vec![Address::Ip([127, 0, 0, 1].into())],
    }
}

/// Waits for the first line and returns the address in it.
async fn address(kept: &Kept) -> String {
    until(|| kept.out().split(' ').nth(2).map(str::to_owned)).await
}

async fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap()
}

async fn ask(address: &str) -> String {
    let mut answer = String::new();
    TcpStream::connect(address).await.unwrap().read_to_string(&mut answer).await.unwrap();
    answer
}

/// Runs the command beside a test, which ends it.
async fn beside(server: &Simulated, heads: &Heads, kept: &Kept, test: impl Future<Output = ()>) {
    let (fleets, terminal, args) = (server.fleets(), kept.terminal(Format::Text), args());
    tokio::select! {
        end = forward(&args, &fleets, &terminal, heads.clone()) => panic!("{end:?}"),
        () = test => {}
    }
}

/// Runs the command, which must not begin.
async fn refused(args: &ForwardArgs, server: &Simulated, terminal: &Terminal, heads: Heads) -> CliError {
    let fleets = server.fleets();
    let run = forward(args, &fleets, terminal, heads);
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn connections_follow_the_group_that_takes_traffic() {
    let (server, heads, kept) = (Simulated::with([serving()]), Heads::default(), Kept::default());
    beside(&server, &heads, &kept, async {
        let address = address(&kept).await;
        // Three requests in flight, not seven.
        assert_eq!(ask(&address).await, "llama-bcdfgh-1-head-9wz8k:8000");
        let mut status = json!({"status": serving().data["status"]});
        status["status"]["groups"][1]["phase"] = json!("Draining");
        server.0.merge_patch_status(&Kind::FLEET, "serving", "llama", &status).unwrap();
        until(|| kept.progress().contains('\n').then_some(())).await;
        assert_eq!(ask(&address).await, "llama-bcdfgh-0-head-x2b4f:8000");
        assert_eq!(kept.progress(), "llama-bcdfgh-1 is Draining: new connections go to llama-bcdfgh-0\n");
    })
    .await;
}

#[tokio::test]
async fn a_head_that_cannot_be_reached_is_passed_over() {
    let (server, heads, kept) = (Simulated::with([serving()]), Heads::default(), Kept::default());
    heads.down.lock().unwrap().insert("llama-bcdfgh-1-head-9wz8k".into());
    beside(&server, &heads, &kept, async {
        let address = address(&kept).await;
        assert_eq!(ask(&address).await, "llama-bcdfgh-0-head-x2b4f:8000");
        until(|| kept.progress().contains('\n').then_some(())).await;
        assert_eq!(
            kept.progress(),
            "llama-bcdfgh-1 cannot be reached: new connections go to llama-bcdfgh-0\n"
        );
    })
    .await;
}

#[tokio::test]
async fn without_any_head_a_connection_is_closed_and_the_next_one_tried() {
    let (server, heads, kept) = (Simulated::with([serving()]), Heads::default(), Kept::default());
    for head in ["llama-bcdfgh-0-head-x2b4f", "llama-bcdfgh-1-head-9wz8k"] {
        heads.down.lock().unwrap().insert(head.into());
    }
    let closed = heads.clone();
    closed.closed.lock().unwrap().insert("llama-bcdfgh-0-head-x2b4f".into());
    beside(&server, &heads, &kept, async {
        let address = address(&kept).await;
        assert_eq!(ask(&address).await, "");
        until(|| kept.progress().contains('\n').then_some(())).await;
        assert_eq!(kept.progress(), "llama-bcdfgh-1: connection refused\n");
        heads.down.lock().unwrap().clear();
        assert_eq!(ask(&address).await, "llama-bcdfgh-1-head-9wz8k:8000");
    })
    .await;
}

#[tokio::test]
async fn a_fleet_that_takes_no_traffic_is_an_error_at_once() {
    let server = Simulated::with([serving()]);
    let heads = Heads::default();
    heads
        .closed
        .lock()
        .unwrap()
        .extend(["llama-bcdfgh-0-head-x2b4f", "llama-bcdfgh-1-head-9wz8k"].map(Into::into));
    let terminal = Kept::default().terminal(Format::Text);
    let fault = refused(&args(), &server, &terminal, heads).await;
    assert!(fault.to_string().contains("takes traffic"), "{fault}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_with_a_cure() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let args = ForwardArgs { ports: Ports { local: Some(port), remote: None }, ..args() };
    let server = Simulated::with([serving()]);
    let terminal = Kept::default().terminal(Format::Text);
    let fault = refused(&args, &server, &terminal, Heads::default()).await.to_string();
    assert!(
        fault.contains(&format!("127.0.0.1:{port}")) && fault.contains("cure:  choose another"),
        "{fault}"
    );
}

/// The channels of `v4.channel.k8s.io` for one port: 0 has its bytes, 1 an error; each begins with the port. An echo.
async fn api_server(listener: TcpListener, fault: Option<&'static str>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(async move {
            #[allow(clippy::result_large_err, reason = "the library's signature")]
            let callback = |request: &Request, mut response: Response| {
                assert_eq!(request.uri().path(), "/api/v1/namespaces/serving/pods/head/portforward");
                response.headers_mut().insert("sec-websocket-protocol", "v4.channel.k8s.io".parse().unwrap());
                Ok(response)
            };
            let mut socket = tokio_tungstenite::accept_hdr_async(socket, callback).await.unwrap();
            for channel in [0, 1] {
                let mut frame = vec![channel];
                frame.extend(8000_u16.to_le_bytes());
                socket.send(Message::binary(frame)).await.unwrap();
            }
            if let Some(fault) = fault {
                socket.send(Message::binary([&[1], fault.as_bytes()].concat())).await.unwrap();
                let _ = socket.close(None).await;
            }
            while let Some(Ok(message)) = socket.next().await {
                if message.is_binary() {
                    socket.send(message).await.unwrap();
                }
            }
        });
    }
}

async fn reached(fault: Option<&'static str>) -> ApiServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(api_server(listener, fault));
    let client = kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
    ApiServer::new(&fleets(client))
}

#[tokio::test]
async fn bytes_go_through_the_api_server_and_back() {
    let server = reached(None).await;
    // Several at once.
    for line in [server.dial(&"head".into(), 8000).await, server.dial(&"head".into(), 8000).await] {
        let mut line = line.unwrap();
        line.stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        line.stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
    }
}

#[tokio::test]
async fn what_the_kubelet_reports_is_passed_on() {
    let server = reached(Some("dial tcp 127.0.0.1:8000: connection refused")).await;
    let mut line = server.dial(&"head".into(), 8000).await.unwrap();
    let mut rest = Vec::new();
    line.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(line.fault.await.as_deref(), Some("dial tcp 127.0.0.1:8000: connection refused"));
}
