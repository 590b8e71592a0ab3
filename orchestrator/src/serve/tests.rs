//! The HTTP port as clients see it, on loopback.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::kubernetes::Key;

async fn start() -> (SocketAddr, Arc<Index>) {
    let index = Arc::new(Index::default());
    let (leadership, _sender) = Leadership::always();
    let pages = Pages {
        index: index.clone(),
        metrics: Arc::new(Metrics::new()),
        hearing: Arc::default(),
        leadership,
    };
    let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, pages));
    (address, index)
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_pages_answer_and_the_connection_ends() {
    let (address, _) = start().await;
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("rayfleet_"), "{metrics}");
}

#[tokio::test]
async fn a_look_that_never_ends_fails_the_liveness_probe() {
    let (address, index) = start().await;
    index.queue.add(Key::new("n", "a"));
    let long_ago =
        || clock::monotonic().checked_sub(STUCK + Duration::from_secs(1)).unwrap_or_else(clock::monotonic);
    index.queue.next(long_ago).await;
    let answer = get(address, "/healthz").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("a look at a fleet has not ended"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_never_sends_its_header_is_let_go() {
    let (address, _) = start().await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(HEADER * 3, silent.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection is still open");
}

#[tokio::test]
async fn a_client_beyond_its_share_is_closed_at_once() {
    let (address, _) = start().await;
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET").await.unwrap();
        held.push(stream);
    }
    let mut one_more = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(3), one_more.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && answer.is_empty(), "{answer:?}");
}
