//! Replies as servers send them, and connections as they end.

use futures::StreamExt as _;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

use super::*;

/// A server that answers each request on a connection with the next text, and then closes it. Gives what was asked for, and on which
/// connection.
async fn server(
    answers: &'static [&'static [&'static str]],
) -> (Url, mpsc::UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (asked, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for (number, answers) in answers.iter().enumerate() {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in *answers {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let _ = asked.send((number, String::from_utf8(request).unwrap()));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        std::future::pending::<()>().await;
    });
    (at, heard)
}

const TWO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\na\n\r\n2\r\nb\n\r\n0\r\n\r\n";
const BARE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const CLOSE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end";

async fn get(direct: &Arc<Direct>, at: &Url, path: &str) -> Result<Response, Unreached> {
    direct.clone().send(Request::new(Method::GET, at.join(path).unwrap()), "test/1").await
}

async fn text(direct: &Arc<Direct>, at: &Url, path: &str) -> String {
    get(direct, at, path).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_reply_was_read() {
    let (at, mut heard) = server(&[&[TWO, CHUNKS, BARE, CLOSE], &[TWO]]).await;
    let direct = Arc::new(Direct::new(IDLE));
    assert_eq!(text(&direct, &at, "/a?b=c%20d").await, "ok");
    assert_eq!(text(&direct, &at, "/2").await, "a\nb\n");
    assert_eq!(text(&direct, &at, "/3").await, "");
    assert_eq!(text(&direct, &at, "/4").await, "to the end");
    assert_eq!(text(&direct, &at, "/5").await, "ok");
    let mut all = Vec::new();
    while let Ok(asked) = heard.try_recv() {
        all.push(asked);
    }
    assert_eq!(all.iter().map(|(on, _)| *on).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
    let first = all[0].1.to_lowercase();
    assert!(first.starts_with("get /a?b=c%20d http/1.1\r\n"), "{first}");
    for line in ["user-agent: test/1", "accept: */*", &format!("host: {}", at.authority())] {
        assert!(first.contains(&format!("{line}\r\n")), "{first}");
    }
}

#[tokio::test]
async fn a_connection_whose_reply_was_not_read_is_closed() {
    let (at, mut heard) = server(&[&[TWO], &[TWO]]).await;
    let direct = Arc::new(Direct::new(IDLE));
    drop(get(&direct, &at, "/1").await.unwrap());
    assert_eq!(text(&direct, &at, "/2").await, "ok");
    let on = [heard.recv().await.unwrap().0, heard.recv().await.unwrap().0];
    assert_eq!(on, [0, 1]);
}

#[tokio::test]
async fn one_that_the_server_has_closed_meanwhile_is_not_used() {
    let (at, mut heard) = server(&[&[TWO], &[TWO]]).await;
    let direct = Arc::new(Direct::new(IDLE));
    assert_eq!(text(&direct, &at, "/1").await, "ok");
    // The server has closed it after its last answer; the news need not be here yet.
    assert_eq!(text(&direct, &at, "/2").await, "ok");
    let on = [heard.recv().await.unwrap().0, heard.recv().await.unwrap().0];
    assert_eq!(on, [0, 1]);
}

#[tokio::test]
async fn one_that_waits_for_too_long_is_closed() {
    let (at, _heard) = server(&[&[TWO, TWO]]).await;
    let direct = Arc::new(Direct::new(Duration::from_millis(40)));
    assert_eq!(text(&direct, &at, "/1").await, "ok");
    assert_eq!(direct.lock().to.len(), 1);
    while direct.lock().is_swept {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(direct.lock().to.len(), 0);
}

#[tokio::test]
async fn a_reply_that_never_ends_comes_line_by_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"2\r\na\n\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    let direct = Arc::new(Direct::new(IDLE));
    let mut chunks = get(&direct, &at, "/").await.unwrap().bytes_stream();
    for _ in 0..3 {
        assert_eq!(chunks.next().await.unwrap().unwrap(), "a\n");
    }
    assert!(chunks.next().await.unwrap().is_err(), "it was cut off");
}

#[tokio::test]
async fn a_large_body_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = vec![0; 3 << 20];
        stream.read_exact(&mut all).await.unwrap();
        stream.write_all(TWO.as_bytes()).await.unwrap();
        all
    });
    let mut request = Request::new(Method::PUT, at);
    *request.body_mut() = Some(vec![b'x'; 3 << 20].into());
    let reply = Arc::new(Direct::new(IDLE)).send(request, "test/1").await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "ok");
    let head = String::from_utf8_lossy(&received.await.unwrap()[..200]).to_lowercase();
    assert!(head.contains("content-length: 3145728\r\n"), "{head}");
}

#[tokio::test]
async fn a_refusal_and_a_connection_that_breaks_are_told_apart() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let direct = Arc::new(Direct::new(IDLE));
    let refused = get(&direct, &format!("http://{nobody}").parse().unwrap(), "/").await.unwrap_err();
    assert!(refused.refused, "{refused:?}");
    let (at, _heard) = server(&[&[""]]).await;
    let broken = get(&direct, &at, "/").await.unwrap_err();
    assert_eq!((broken.refused, &*broken.cause), (false, "connection closed before message completed"));
}

#[tokio::test]
async fn a_head_that_is_longer_than_is_read_at_a_time_is_refused() {
    let long =
        |bytes: usize| format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 2\r\n\r\nok", "x".repeat(bytes));
    let answers: &[&str] = vec![&*long(READ - 100).leak(), long(READ).leak()].leak();
    let (at, _heard) = server(vec![answers].leak()).await;
    let direct = Arc::new(Direct::new(IDLE));
    assert_eq!(text(&direct, &at, "/1").await, "ok");
    let error = get(&direct, &at, "/2").await.unwrap_err();
    assert!(!error.refused && error.cause.contains("too large"), "{error:?}");
}

#[test]
fn what_is_not_plain_is_left_to_others() {
    let takes = |url: &str| takes(&Request::new(Method::GET, url.parse().unwrap()));
    assert!(takes("http://10.0.0.1:8265/a") && takes("http://[fd00::1]:8265/"));
    assert!(!takes("https://10.0.0.1:8265/a") && !takes("http://user:word@10.0.0.1/"));
    let mut upgrade = Request::new(Method::GET, "http://10.0.0.1/".parse().unwrap());
    upgrade.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    assert!(!super::takes(&upgrade));
}
