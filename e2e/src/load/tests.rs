//! The load generator against a server that answers as each test defines, byte for byte.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// Answer of a server to a request: `None` closes the connection without one.
type Reply = fn(&str) -> Option<String>;

/// Serves every connection until the client disconnects or `requests` were answered on it.
async fn server(reply: Reply, requests: u32) -> (Target, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(stream, reply, requests));
        }
    });
    (target, connections)
}

async fn serve(mut stream: TcpStream, reply: Reply, requests: u32) {
    for _ in 0..requests {
        let mut request = Vec::new();
        // The only closing brace of a request's body is its last byte.
        while !request.ends_with(b"}") {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await {
                Ok(count) if count > 0 => request.extend_from_slice(&bytes[..count]),
                _ => return,
            }
        }
        match reply(&String::from_utf8_lossy(&request)) {
            Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            None => return,
        }
    }
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn short(tokens: u32) -> String {
    let body = format!(r#"{{"choices":[{{"text":"ok"}}],"usage":{{"completion_tokens":{tokens}}}}}"#);
    http("200 OK", &body)
}

fn stream(tokens: u32, end: &str) -> String {
    let body = format!(
        "data: {{\"choices\":[{{\"text\":\"a\"}}]}}\n\ndata: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{tokens}}}}}\n\n{end}"
    );
    http("200 OK", &body)
}

async fn ask(reply: Reply, stream: bool) -> Result<String, RequestFailure> {
    let (target, _) = server(reply, 1).await;
    let question = Question { model: "m", prompt: "p".into(), tokens: 4, stream, patience: PATIENCE };
    exchange::ask(&mut Client::new(target, false), &question).await
}

#[tokio::test]
async fn correct_answers_are_no_failures() {
    assert_eq!(ask(|_| Some(short(4)), false).await, Ok("ok".into()));
    assert_eq!(ask(|_| Some(stream(4, "data: [DONE]\n\n")), true).await, Ok("a".into()));
}

#[tokio::test]
async fn every_wrong_or_missing_answer_is_a_failure() {
    let kind = |outcome: Result<String, RequestFailure>| outcome.unwrap_err().kind();
    assert_eq!(kind(ask(|_| Some(short(3)), false).await), "wrong answer");
    assert_eq!(kind(ask(|_| Some(http("503 no", "draining")), false).await), "status 503");
    assert_eq!(kind(ask(|_| None, false).await), "connection lost");
    assert_eq!(kind(ask(|_| Some(stream(4, "")), true).await), "broken off");
    assert_eq!(kind(ask(|_| Some(stream(3, "data: [DONE]\n\n")), true).await), "wrong answer");
    assert_eq!(
        kind(ask(|_| Some("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ndata: {}".into()), true).await),
        "broken off"
    );
    assert_eq!(
        kind(ask(|_| Some(http("200 OK", "data: {\"error\":\"dead\"}\n\ndata: [DONE]\n\n")), true).await),
        "broken off"
    );
}

#[tokio::test]
async fn a_refused_connection_is_a_failure() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::parse(&format!("http://{free}")).unwrap();
    let fault = complete(&target, "m", "p", 1, PATIENCE).await.unwrap_err();
    assert_eq!(fault.kind(), "connect");
}

fn plan(target: Target, fresh: u32, kept: u32) -> Plan {
    let share = Share { fresh, kept, pause: Duration::from_millis(5), tokens: 4 };
    let none = Share { fresh: 0, kept: 0, ..share };
    Plan { target, model: "m".into(), short: share, stream: none, patience: PATIENCE }
}

async fn run(plan: &Plan, until_sent: u64) -> Report {
    let load = Load::start(plan);
    while load.so_far().sent < until_sent {
        tokio::task::yield_now().await;
    }
    load.stop(PATIENCE).await
}

#[tokio::test]
async fn kept_connections_are_kept_and_fresh_ones_are_fresh() {
    let (target, connections) = server(|_| Some(short(4)), u32::MAX).await;
    let report = run(&plan(target.clone(), 0, 2), 20).await;
    assert_eq!((report.failed, report.open), (0, 0));
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    assert_eq!(report.on_kept_connections, report.sent - 2);
    let report = run(&plan(target, 1, 0), 5).await;
    assert_eq!(report.on_kept_connections, 0);
    assert_eq!(connections.load(Ordering::Relaxed), 2 + report.sent);
}

/// A server that closes after each answer, as a restarting one does with idle connections.
#[tokio::test]
async fn a_connection_closed_while_idle_is_no_failure() {
    let (target, _) = server(|_| Some(short(4)), 1).await;
    let report = run(&plan(target, 0, 1), 10).await;
    assert_eq!(report.failed, 0, "{report}");
}

/// A server that accepts the second request and closes: that request is lost, and must not be sent again.
#[tokio::test]
async fn a_request_lost_on_a_kept_connection_is_a_failure() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let reply: Reply = |_| (SEEN.fetch_add(1, Ordering::Relaxed) == 0).then(|| short(4));
    let (target, connections) = server(reply, 2).await;
    let mut client = Client::new(target, true);
    let question = Question { model: "m", prompt: "p".into(), tokens: 4, stream: false, patience: PATIENCE };
    exchange::ask(&mut client, &question).await.unwrap();
    let fault = exchange::ask(&mut client, &question).await.unwrap_err();
    assert_eq!(fault.kind(), "kept connection lost");
    assert_eq!((SEEN.load(Ordering::Relaxed), connections.load(Ordering::Relaxed)), (2, 1));
}

#[tokio::test]
async fn a_stop_waits_for_open_requests() {
    let (target, _) = server(
        |_| {
            std::thread::sleep(Duration::from_millis(100));
            Some(short(4))
        },
        u32::MAX,
    )
    .await;
    let load = Load::start(&plan(target, 1, 1));
    while load.so_far().open == 0 {
        tokio::task::yield_now().await;
    }
    let report = load.stop(PATIENCE).await;
    assert_eq!((report.open, report.failed), (0, 0));
    assert!(report.sent > 0);
}
