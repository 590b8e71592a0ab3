//! How many files this process may have open. Containers start with a soft limit of 1,024, which a program may raise by itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors of a connection: one to the client, one to a head.
const EACH: u64 = 2;
/// All others: the API server, `/metrics` of heads, pages.
const OTHERS: u64 = 512;

/// Raises the limit as far as it is allowed; gives the number of connections for which it suffices.
pub(crate) fn for_connections(wanted: u32) -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let possible = possible(current);
    if possible < wanted {
        warn!(
            wanted,
            possible,
            files = current,
            "fewer connections are taken than --max-connections, for want of open files (ulimit -n)"
        );
    }
    wanted.min(possible)
}

/// Connections that so many descriptors suffice for; `None` is no limit.
fn possible(descriptors: Option<u64>) -> u32 {
    let connections = descriptors.map_or(u64::MAX, |all| all.saturating_sub(OTHERS) / EACH);
    u32::try_from(connections).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_needs_two_and_some_are_left_for_others() {
        assert_eq!(possible(Some(20_512)), 10_000);
        assert_eq!(possible(Some(100)), 1);
        assert_eq!(possible(None), u32::MAX);
    }
}
