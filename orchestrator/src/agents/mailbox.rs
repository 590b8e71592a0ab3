//! What an agent is still to do: of each kind of command the last one. Nothing queues up behind a slow dashboard, and nothing is
//! lost: what is decided later takes the place of what was decided before. Knows no agent.

use parking_lot::Mutex;
use ray_bridge::engine::Probe;
use tokio::sync::Notify;

use super::assignment::{Command, Launch, Submission};

/// Commands for one agent.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pending: Mutex<Pending>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    draining: Option<bool>,
    stop: Option<Submission>,
    launch: Option<Box<Launch>>,
    probe: Option<(Submission, Box<Probe>)>,
}

impl Mailbox {
    /// A command that was decided now. It replaces an earlier one of its kind.
    pub(crate) fn put(&self, command: Command) {
        let mut pending = self.pending.lock();
        match command {
            Command::SetDraining(draining) => pending.draining = Some(draining),
            Command::Stop(of) => {
                // What is to end need not begin.
                pending.launch.take_if(|launch| launch.submission == of);
                pending.stop = Some(of);
            }
            Command::Launch(launch) => pending.launch = Some(launch),
            Command::Probe(of, probe) => pending.probe = Some((of, probe)),
        }
        drop(pending);
        self.bell.notify_one();
    }

    /// A command that failed: it is tried again, unless another one of its kind was decided meanwhile.
    pub(crate) fn put_back(&self, command: Command) {
        let mut pending = self.pending.lock();
        match command {
            Command::SetDraining(false) => pending.draining = pending.draining.or(Some(false)),
            Command::Stop(of) => {
                pending.stop.get_or_insert(of);
            }
            Command::Launch(launch) if pending.stop.as_ref() != Some(&launch.submission) => {
                pending.launch.get_or_insert(launch);
            }
            Command::Probe(of, probe) => {
                pending.probe.get_or_insert((of, probe));
            }
            // What is to end need not begin. A drain is decided again every second for as long as it is wanted; later it might
            // reach the next engine.
            Command::Launch(_) | Command::SetDraining(true) => {}
        }
    }

    fn take(&self) -> Option<Command> {
        let mut pending = self.pending.lock();
        let draining = pending.draining.take().map(Command::SetDraining);
        // The old engine ends before the next one begins.
        draining
            .or_else(|| pending.stop.take().map(Command::Stop))
            .or_else(|| pending.launch.take().map(Command::Launch))
            .or_else(|| pending.probe.take().map(|(of, probe)| Command::Probe(of, probe)))
    }

    /// The next command; waits for one. May be dropped while it waits.
    pub(crate) async fn next(&self) -> Command {
        loop {
            if let Some(command) = self.take() {
                return command;
            }
            self.bell.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn id(text: &str) -> Submission {
        Submission::of(format!("g.{text}.1").parse().unwrap()).unwrap()
    }

    fn stopped(mailbox: &Mailbox) -> Option<String> {
        match mailbox.next().now_or_never()? {
            Command::Stop(of) => of.launch.engine.map(|engine| engine.to_string()),
            _ => None,
        }
    }

    #[test]
    fn the_last_command_of_each_kind_counts() {
        let mailbox = Mailbox::default();
        for n in 0..100 {
            mailbox.put(Command::Stop(id(&format!("e{n}"))));
            mailbox.put(Command::SetDraining(n % 2 == 0));
        }
        assert!(matches!(mailbox.next().now_or_never(), Some(Command::SetDraining(false))));
        assert_eq!(stopped(&mailbox).as_deref(), Some("e99"));
        assert!(mailbox.next().now_or_never().is_none());
    }

    #[test]
    fn a_failed_command_comes_again_unless_another_was_decided() {
        let mailbox = Mailbox::default();
        mailbox.put_back(Command::Stop(id("a")));
        assert_eq!(stopped(&mailbox).as_deref(), Some("a"));
        mailbox.put(Command::Stop(id("b")));
        mailbox.put_back(Command::Stop(id("a")));
        assert_eq!(stopped(&mailbox).as_deref(), Some("b"));
        mailbox.put(Command::SetDraining(true));
        mailbox.put_back(Command::SetDraining(false));
        assert!(matches!(mailbox.next().now_or_never(), Some(Command::SetDraining(true))));
        mailbox.put_back(Command::SetDraining(true));
        assert!(mailbox.next().now_or_never().is_none(), "it might reach the next engine");
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_wakes_who_waits_for_it() {
        let mailbox = Mailbox::default();
        let (command, ()) = futures::future::join(mailbox.next(), async {
            tokio::task::yield_now().await;
            mailbox.put(Command::SetDraining(true));
        })
        .await;
        assert!(matches!(command, Command::SetDraining(true)));
    }
}
