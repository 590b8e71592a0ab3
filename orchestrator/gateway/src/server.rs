//! The port for clients: connections, bounded in number and in the time that a head of a request may take, and their end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, info};

use crate::proxy::Proxy;

/// Time for the head of a request; an idle connection is closed after it too.
const HEAD: Duration = Duration::from_secs(75);
/// Largest head of a request, and the most of a body that is read ahead, in bytes: so much is held for each connection at the most, and as
/// much for its answer.
const BUFFER: usize = 32 << 10;
/// Silence after which the kernel asks whether a client is still there.
const SILENCE: Duration = Duration::from_mins(1);

/// Serves clients until `ending`, and then lets the requests that have begun end, for `drain` at the most.
pub(crate) async fn serve(
    listener: TcpListener,
    proxy: Proxy,
    most_connections: usize,
    ending: impl Future<Output = ()>,
    drain: Duration,
) {
    let room = Arc::new(Semaphore::new(most_connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut ending = std::pin::pin!(ending);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut ending => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already.
                debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Tokens are small and come one by one.
        let _ = stream.set_nodelay(true);
        // A client whose machine lost its power says nothing, and its engine would go on.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE));
        let proxy = proxy.clone();
        let service = service_fn(move |request| {
            let proxy = proxy.clone();
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                debug!(%error, "a client's connection ended early");
            }
        });
    }
    drop(listener);
    info!(open = graceful.count(), "no new connections are taken; requests that have begun may end");
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        info!("requests that have not ended by now are cut off");
    }
}

/// Waits for room, then for a client: whoever cannot be taken in waits in the kernel's queue, and not in memory.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}
