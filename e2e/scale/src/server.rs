//! One process answers for every pod of the played Ray clusters: the kernel gives it all of their addresses, and it answers by the one
//! that was called. What it answers is the simulated Ray's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ray_bridge::Wire;
use tokio::net::{TcpListener, TcpStream};

use crate::counted::Counted;
use crate::traffic::Traffic;

/// Ports of dashboards, agents and engines.
const PORTS: [u16; 3] = [8265, 52365, 8000];
/// A request is read up to here: the largest is the launcher's package.
const LARGEST: usize = 1 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Failure>;

/// Answers from now on.
pub(crate) async fn start(wire: &Arc<dyn Wire>, traffic: &Arc<Traffic>) -> anyhow::Result<()> {
    for port in PORTS {
        let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener = TcpListener::bind(at).await.with_context(|| format!("listen at {at}"))?;
        tokio::spawn(accept(listener, wire.clone(), traffic.clone()));
    }
    Ok(())
}

async fn accept(listener: TcpListener, wire: Arc<dyn Wire>, traffic: Arc<Traffic>) {
    loop {
        // A client that is gone already, or too many files: the next one may do better.
        if let Ok((stream, _)) = listener.accept().await {
            traffic.connected();
            tokio::spawn(serve(stream, wire.clone(), traffic.clone()));
        }
    }
}

async fn serve(stream: TcpStream, wire: Arc<dyn Wire>, traffic: Arc<Traffic>) {
    let Ok(at) = stream.local_addr() else { return };
    // Replies are small, and each is waited for.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Counted::new(stream, traffic.bytes.clone()));
    let answering = service_fn(move |request| answer(wire.clone(), traffic.clone(), at, request));
    // It ends when the client goes, or where a Ray cluster would not have answered.
    let _ = http1::Builder::new().serve_connection(stream, answering).await;
}

/// An error ends the connection without a reply.
async fn answer(
    wire: Arc<dyn Wire>,
    traffic: Arc<Traffic>,
    at: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    traffic.called(head.method.as_str(), head.uri.path());
    let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut call = reqwest::Request::new(head.method, format!("http://{at}{path}").parse()?);
    *call.headers_mut() = head.headers;
    *call.body_mut() = Some(body.into());
    let mut reply = wire.send(call).await.map_err(|unreached| unreached.cause)?;
    let mut response = Response::builder().status(reply.status());
    if let Some(headers) = response.headers_mut() {
        *headers = std::mem::take(reply.headers_mut());
    }
    // A watch has no length: its lines go out one by one.
    let body = if reply.content_length().is_some() {
        Full::new(reply.bytes().await?).map_err(|never| match never {}).boxed_unsync()
    } else {
        let frames = reply.bytes_stream().map_ok(Frame::data).map_err(Failure::from);
        StreamBody::new(frames).boxed_unsync()
    };
    Ok(response.body(body)?)
}
