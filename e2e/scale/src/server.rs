//! One process answers for every pod of the played Ray clusters: the kernel gives it all of their addresses. There is a socket for each
//! address and port at which something listens, so that the kernel refuses what nobody listens to, as that of a real pod does. What is
//! answered is the simulated Ray's.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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
use rayfleet_e2e::console::print_error;
use rayfleet_sim_ray::RayWorld;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::counted::Counted;
use crate::traffic::Traffic;

/// A request is read up to here: the largest is the launcher's package.
const LARGEST: usize = 1 << 20;
/// How much later than the played process its socket may be there, or gone.
const LATE: Duration = Duration::from_millis(20);

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Failure>;

/// Answers for ever, at what listens.
pub(crate) async fn serve(ray: RayWorld, traffic: Arc<Traffic>) {
    let wire = ray.wire();
    // A socket ends with its task, and its connections with it.
    let mut open: BTreeMap<(String, u16), JoinSet<()>> = BTreeMap::new();
    let mut version = 0;
    loop {
        let listening = ray.listening();
        open.retain(|at, _| listening.contains(at));
        for at in listening {
            if open.contains_key(&at) {
                continue;
            }
            match listen(&at).await {
                Ok(listener) => {
                    let mut task = JoinSet::new();
                    task.spawn(accept(listener, wire.clone(), traffic.clone()));
                    open.insert(at, task);
                }
                Err(error) => print_error(format_args!("cannot listen at {}:{}: {error}", at.0, at.1)),
            }
        }
        sleep(LATE).await;
        version = ray.changed_since(version).await;
    }
}

async fn listen((ip, port): &(String, u16)) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind(SocketAddr::from((ip.parse::<IpAddr>()?, *port))).await?)
}

async fn accept(listener: TcpListener, wire: Arc<dyn Wire>, traffic: Arc<Traffic>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A client that is gone already, or too many files: the next one may do better.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                traffic.connected();
                connections.spawn(answer_on(stream, wire.clone(), traffic.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer_on(stream: TcpStream, wire: Arc<dyn Wire>, traffic: Arc<Traffic>) {
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
