//! Accepts connections and takes each to the group of the moment.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rayfleet_api::PodName;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::dial::{Dial, Line};
use super::pipe;
use super::target::Target;

/// Connections at a time; each keeps up to 2 MiB. More wait in the kernel.
const MOST: usize = 256;
/// Longest part of another's error, in bytes.
const LONGEST: usize = 300;
/// Before the next try when this machine has no socket left.
const PAUSE: Duration = Duration::from_millis(200);

/// What connections need.
#[derive(Clone)]
pub(super) struct Service<D> {
    pub(super) dial: D,
    /// Port of the head.
    pub(super) port: u16,
    /// The group of the moment.
    pub(super) chosen: watch::Receiver<Option<Target>>,
    /// Heads that cannot be reached.
    pub(super) broken: mpsc::UnboundedSender<PodName>,
    /// What people should know.
    pub(super) notes: mpsc::UnboundedSender<String>,
    /// How long a connection waits for a group.
    pub(super) patience: Duration,
    pub(super) room: Arc<Semaphore>,
}

/// Room for connections, of all listeners together.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MOST))
}

impl<D: Dial> Service<D> {
    /// Accepts for ever.
    pub(super) async fn accept(&self, listener: &TcpListener) {
        while let Ok(permit) = Arc::clone(&self.room).acquire_owned().await {
            match listener.accept().await {
                Ok((local, _)) => {
                    let service = self.clone();
                    tokio::spawn(async move {
                        service.connection(local).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    self.note(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn connection(mut self, mut local: TcpStream) {
        let patience = self.patience;
        let (target, line) = match timeout(patience, self.reach()).await {
            Ok(Ok(reached)) => reached,
            Ok(Err(why)) => return self.note(&why),
            Err(_) => {
                let seconds = patience.as_secs_f64();
                return self
                    .note(&format!("no group could be reached within {seconds}s: a connection is closed"));
            }
        };
        pipe::through(&mut local, line.stream).await;
        if let Some(why) = line.fault.now_or_never().flatten() {
            self.note(&format!("{}: {why}", target.group));
        }
        drop(line.end);
    }

    /// Connects to the group of the moment, once that there is one; to the next one if it cannot be reached. An error
    /// if that is the same.
    async fn reach(&mut self) -> Result<(Target, Line<D::Stream>), String> {
        let mut failed: Option<(Target, String)> = None;
        loop {
            let there = self.chosen.wait_for(Option::is_some).await.ok().and_then(|target| target.clone());
            let target = match (there, failed) {
                (Some(target), None) => target,
                (Some(target), Some((last, _))) if target != last => target,
                (_, Some((last, why))) => return Err(format!("{}: {why}", last.group)),
                (None, None) => return Err("the fleet is followed no more".to_owned()),
            };
            match self.dial.dial(&target.head, self.port).await {
                Ok(line) => return Ok((target, line)),
                Err(why) => {
                    self.chosen.mark_unchanged();
                    let _ = self.broken.send(target.head.clone());
                    failed = Some((target, why));
                    // The next choice, which may be the same.
                    let _ = self.chosen.changed().await;
                }
            }
        }
    }

    fn note(&self, text: &str) {
        let _ = self.notes.send(cut(&one_line(text), LONGEST));
    }
}
