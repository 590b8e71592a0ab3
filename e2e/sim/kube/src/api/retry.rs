//! kube's retry policy: its client retries answers such as 429 by itself, before its caller sees anything.
//! Reimplemented only because kube's jitter is random.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

/// First delay, doubled each time.
const FIRST: Duration = Duration::from_millis(5);
/// Longest delay.
const LONGEST: Duration = Duration::from_secs(1000);
/// Most retries of one request.
const RETRIES: u32 = 15;

/// How long to wait before the request is sent again after `retries` retries; `None` if it is not.
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
    fn retry_after_is_honoured_and_retries_are_bounded() {
        let mut headers = HeaderMap::new();
        let busy = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(wait(busy, &headers, 3), Some(Duration::from_millis(40)));
        headers.insert(header::RETRY_AFTER, 1.into());
        assert_eq!(wait(busy, &headers, 3), Some(Duration::from_secs(1)));
        assert_eq!(wait(busy, &headers, 15), None);
        assert_eq!(wait(StatusCode::INTERNAL_SERVER_ERROR, &headers, 0), None);
    }
}
