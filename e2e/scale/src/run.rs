//! What every part of a scenario needs: the cluster, the played Ray, what is followed, and how it is waited for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use kube::Client;
use rayfleet_e2e::console::print_error;
use rayfleet_sim_ray::RayWorld;
use tokio::time::{interval, timeout};

use crate::Args;
use crate::fleets::Fleets;
use crate::meters::Meters;
use crate::process;
use crate::watches::Followed;

/// What a controller still does after the last fleet is ready belongs to bringing it up, and the same of all else that is done.
pub(crate) const TAIL: Duration = Duration::from_secs(5);
/// Time between signs of life.
const SIGN: Duration = Duration::from_secs(10);

/// What every part of a scenario needs.
pub(crate) struct Run<'a> {
    pub(crate) args: &'a Args,
    pub(crate) client: Client,
    pub(crate) ray: RayWorld,
    pub(crate) fleets: Fleets,
    pub(crate) followed: Arc<Followed>,
    pub(crate) meters: Meters<'a>,
}

impl Run<'_> {
    /// Waits until it is so, with signs of life; fails after the limit, or when the controller ends.
    pub(crate) async fn until(
        &self,
        is_so: impl Fn(&Followed) -> bool,
        sign: impl Fn(&Followed) -> String,
    ) -> anyhow::Result<()> {
        self.within_limit(self.followed.until(is_so), || sign(&self.followed)).await
    }

    /// The same for anything else that is waited for.
    pub(crate) async fn within_limit<T>(
        &self,
        done: impl Future<Output = T>,
        sign: impl Fn() -> String,
    ) -> anyhow::Result<T> {
        let signs = async {
            let mut signs = interval(SIGN);
            signs.tick().await;
            loop {
                signs.tick().await;
                print_error(format_args!("  {}", sign()));
                if let Err(ended) = process::cpu(self.args.pid) {
                    return ended;
                }
            }
        };
        let limit = Duration::from_secs(60 * self.args.limit);
        tokio::select! {
            done = timeout(limit, done) => done.map_err(|_| anyhow!("after {} min {}", self.args.limit, sign())),
            ended = signs => Err(ended),
        }
    }
}
