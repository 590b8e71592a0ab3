//! What kube's own client does with answers that ask for patience: it sends again by itself, before its user sees
//! anything. Written again only because its jitter is random.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

/// First wait, doubled each time.
const FIRST: Duration = Duration::from_millis(5);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(1000);
/// Times that a request is sent again.
const RETRIES: u32 = 15;

/// How long to wait before a request is sent again, if it is: it was answered this way after so many retries.
pub(super) fn wait(status: StatusCode, headers: &HeaderMap, retries: u32) -> Option<Duration> {
    let patience = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    );
    if !patience || retries >= RETRIES {
        return None;
    }
    let own = FIRST.saturating_mul(2_u32.saturating_pow(retries)).min(LONGEST);
    let asked = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Some(own.max(asked.map_or(Duration::ZERO, Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_wish_is_heard_and_patience_ends() {
        let mut headers = HeaderMap::new();
        let busy = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(wait(busy, &headers, 3), Some(Duration::from_millis(40)));
        headers.insert(header::RETRY_AFTER, 1.into());
        assert_eq!(wait(busy, &headers, 3), Some(Duration::from_secs(1)));
        assert_eq!(wait(busy, &headers, 15), None);
        assert_eq!(wait(StatusCode::INTERNAL_SERVER_ERROR, &headers, 0), None);
    }
}
