//! A wire between Envoy and the picker that can be cut: to Envoy that is a picker that has died.

use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub(super) struct Wire {
    address: SocketAddr,
    to: SocketAddr,
    task: Mutex<JoinHandle<()>>,
}

impl Wire {
    pub(super) async fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, to, task: Mutex::new(tokio::spawn(carry(listener, to))) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nobody listens, and all connections end. Done when it is so.
    pub(super) async fn cut(&self) {
        let task = std::mem::replace(&mut *self.task.lock(), tokio::spawn(async {}));
        task.abort();
        let _ = task.await;
    }

    pub(super) async fn mend(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        *self.task.lock() = tokio::spawn(carry(listener, self.to));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.lock().abort();
    }
}

async fn carry(listener: TcpListener, to: SocketAddr) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            let mut to = TcpStream::connect(to).await.unwrap();
            // As Envoy and the gateway: small messages are not held back.
            from.set_nodelay(true).unwrap();
            to.set_nodelay(true).unwrap();
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        });
    }
}
