//! Counters of the controller's own page of metrics, in Prometheus' text format.

use std::collections::BTreeMap;

use anyhow::Context;

/// Counters, and counts and sums of histograms, by their series. None without a page.
pub(crate) async fn counters(page: Option<&str>) -> anyhow::Result<BTreeMap<String, f64>> {
    let Some(page) = page else { return Ok(BTreeMap::new()) };
    let reply = reqwest::get(page).await.and_then(reqwest::Response::error_for_status);
    let text = reply.with_context(|| page.to_owned())?.text().await.with_context(|| page.to_owned())?;
    let mut counters = BTreeMap::new();
    for (series, value) in text.lines().filter_map(counter) {
        *counters.entry(series).or_default() += value;
    }
    Ok(counters)
}

/// A series without the labels that name a fleet: of these there are as many as fleets.
fn whole(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let of_fleet = |label: &&str| label.starts_with("namespace=") || label.starts_with("fleet=");
    let kept: Vec<&str> = labels.trim_end_matches('}').split(',').filter(|label| !of_fleet(label)).collect();
    if kept.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", kept.join(",")) }
}

fn counter(line: &str) -> Option<(String, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let name = series.split('{').next()?;
    let counts = ["_total", "_count", "_sum"].iter().any(|end| name.ends_with(end));
    Some((whole(series), value.parse().ok()?)).filter(|_| counts && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grows_is_read() {
        assert_eq!(
            counter("passes_total{kind=\"a b\"} 3"),
            Some(("passes_total{kind=\"a b\"}".to_owned(), 3.0))
        );
        assert_eq!(
            counter("passes_total{namespace=\"a\",fleet=\"b\"} 3"),
            Some(("passes_total".to_owned(), 3.0))
        );
        assert_eq!(counter("look_seconds_bucket{le=\"1.0\"} 3"), None);
        assert_eq!(counter("# TYPE passes_total counter"), None);
        assert_eq!(counter("queue_depth 3"), None);
    }
}
