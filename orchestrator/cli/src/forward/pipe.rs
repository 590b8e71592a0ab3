//! One connection: bytes to and from a port of a pod, until one side ends it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may still take for who sends no more. The API server's protocol cannot pass on that one direction
/// has ended, so the other side is not told; who is gone for good is noticed with the next byte for them.
const LINGER: Duration = Duration::from_mins(10);

/// Copies until an end. An error is the end, too: it says no more than that the connection is over.
pub(super) async fn through(local: &mut TcpStream, pod: impl AsyncRead + AsyncWrite) {
    // Small messages, as the tokens of a stream, are not held back.
    let _ = local.set_nodelay(true);
    let (mut from_pod, mut to_pod) = split(pod);
    let (mut from_local, mut to_local) = local.split();
    let mut down = std::pin::pin!(async {
        let _ = copy(&mut from_pod, &mut to_local).await;
        let _ = to_local.shutdown().await;
    });
    let up = copy(&mut from_local, &mut to_pod);
    tokio::select! {
        () = &mut down => {}
        sent = up => {
            if sent.is_ok() {
                let _ = timeout(LINGER, down).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn who_has_sent_all_still_gets_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (pod, mut engine) = duplex(64);
        let piped = tokio::spawn(async move {
            let (mut local, _) = listener.accept().await.unwrap();
            through(&mut local, pod).await;
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"ask").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = [0; 3];
        engine.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"ask");
        engine.write_all(b"answer").await.unwrap();
        drop(engine);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        piped.await.unwrap();
    }
}
