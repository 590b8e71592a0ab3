//! How many connections are let in at a time: in all, and from one address, so that no single client shuts out the kubelet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Connections from one address. A kubelet and Prometheus have a few.
const EACH: usize = 16;
/// Connections in all, some kilobytes each.
const ALL: usize = 512;

/// Counts who is in.
#[derive(Debug, Default)]
pub(super) struct ConnectionLimit {
    inside: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection that was let in, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    door: Arc<ConnectionLimit>,
    from: IpAddr,
}

impl ConnectionLimit {
    /// Lets a connection in, or not when there are too many.
    pub(super) fn enter(door: &Arc<Self>, from: IpAddr) -> Option<ConnectionPermit> {
        let mut inside = door.inside.lock();
        let of_address = inside.get(&from).copied().unwrap_or_default();
        if of_address >= EACH || inside.values().sum::<usize>() >= ALL {
            return None;
        }
        inside.insert(from, of_address + 1);
        Some(ConnectionPermit { door: door.clone(), from })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock();
        if let Some(count) = inside.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, last, 1])
    }

    #[test]
    fn one_address_cannot_shut_out_another() {
        let door = Arc::new(ConnectionLimit::default());
        let inside: Vec<_> = (0..EACH).map(|_| ConnectionLimit::enter(&door, address(1)).unwrap()).collect();
        assert!(ConnectionLimit::enter(&door, address(1)).is_none());
        assert!(ConnectionLimit::enter(&door, address(2)).is_some());
        drop(inside);
        assert!(door.inside.lock().is_empty());
        assert!(ConnectionLimit::enter(&door, address(1)).is_some());
    }

    #[test]
    fn connections_are_bounded_in_all() {
        let door = Arc::new(ConnectionLimit::default());
        let many = (0..=u8::MAX).flat_map(|last| [address(last); EACH]);
        let inside: Vec<_> = many.filter_map(|from| ConnectionLimit::enter(&door, from)).collect();
        assert_eq!(inside.len(), ALL);
    }
}
