//! Reads the number of requests and the progress from an engine's Prometheus text. The names of the series
//! are defined per engine.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::kind::Engine;

/// Requests running and waiting, over all engine cores; `None` if the text has neither gauge.
pub(crate) fn in_flight(engine: &dyn Engine, text: &str) -> Option<u64> {
    number(&values(series(text, engine.in_flight())))
}

/// The values that parse as numbers of requests.
fn values<'a>(series: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<f64> {
    series
        .filter_map(|(_, value)| value.parse().ok())
        .filter(|value: &f64| value.is_finite() && *value >= 0.0)
        .collect()
}

/// Their sum, over all engine cores; `None` without any.
fn number(values: &[f64]) -> Option<u64> {
    if values.is_empty() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite, not negative; a cast saturates"
    )]
    Some(values.iter().sum::<f64>().round() as u64)
}

/// A fingerprint that changes with every completed step of the engine; `None` if the text has no token
/// counters.
pub(crate) fn progress(engine: &dyn Engine, text: &str) -> Option<u64> {
    series(text, engine.steps().get(..1).unwrap_or_default()).next()?;
    let mut hasher = DefaultHasher::new();
    series(text, engine.steps()).for_each(|line| line.hash(&mut hasher));
    Some(hasher.finish())
}

/// Deferred requests, if the engine has no other ones; 0 if it has, or if it does not report the reason.
pub(crate) fn deferred(engine: &dyn Engine, text: &str) -> u64 {
    let queue = engine.queue();
    let of = |name| number(&values(series(text, &[name])));
    let names = [queue.by_reason];
    let deferred = series(text, &names).filter(|(series, _)| series.contains(queue.deferred));
    let deferred = number(&values(deferred)).unwrap_or(0);
    let all = of(queue.running) == Some(0) && of(queue.waiting) == Some(deferred);
    if all { deferred } else { 0 }
}

/// Series of these names with their labels, and their values as text.
fn series<'a>(text: &'a str, names: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?.trim();
        names.contains(&name).then_some((series, value))
    })
}

#[cfg(test)]
mod tests {
    use super::super::vllm::Vllm;
    use super::*;

    #[test]
    fn running_and_waiting_requests_of_all_cores_are_added_up() {
        let text = "# TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 2.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 1.0\n\
            vllm:num_requests_waiting{engine=\"0\",model_name=\"a b\"} 4.0\n\
            vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 4.0\n";
        assert_eq!(in_flight(&Vllm, text), Some(7));
    }

    #[test]
    fn a_missing_gauge_is_none_and_not_zero() {
        assert_eq!(in_flight(&Vllm, ""), None);
        assert_eq!(in_flight(&Vllm, "vllm:num_requests_running NaN\nfoo 1\n"), None);
        assert_eq!(progress(&Vllm, "vllm:num_requests_running 1.0\n"), None);
    }

    #[test]
    fn requests_are_deferred_only_if_all_of_the_engine_are() {
        let recorded = include_str!("../../tests/fixtures/vllm_metrics.txt");
        let with = |running: u32, waiting: u32, deferred: u32| {
            let mut text = recorded.to_owned();
            for (series, value) in [
                ("running{engine=\"0\",model_name=\"tiny\"}", running),
                ("waiting{engine=\"0\",model_name=\"tiny\"}", waiting),
                ("by_reason{engine=\"0\",model_name=\"tiny\",reason=\"deferred\"}", deferred),
            ] {
                let series = format!(
                    "vllm:num_requests_{}{series}",
                    if series.starts_with("by") { "waiting_" } else { "" }
                );
                assert!(recorded.contains(&format!("{series} 0.0")), "{series}");
                text = text.replace(&format!("{series} 0.0"), &format!("{series} {value}.0"));
            }
            deferred_of(&text)
        };
        assert_eq!(with(0, 2, 2), 2);
        assert_eq!(with(1, 2, 2), 0, "a running request needs steps");
        assert_eq!(with(0, 3, 2), 0, "one waits for room in a step");
        assert_eq!(with(0, 0, 0), 0, "no request so far");
        let older = "vllm:num_requests_running 0.0\nvllm:num_requests_waiting 1.0\n";
        assert_eq!(deferred_of(older), 0, "an engine without the reason");
    }

    fn deferred_of(text: &str) -> u64 {
        deferred(&Vllm, text)
    }

    #[test]
    fn recorded_metrics_change_only_with_steps() {
        let recorded = include_str!("../../tests/fixtures/vllm_metrics.txt");
        let with = |from: &str, to: &str| {
            assert!(recorded.contains(from), "{from}");
            progress(&Vllm, &recorded.replace(from, to))
        };
        let before = progress(&Vllm, recorded);
        assert!(before.is_some());
        for (from, to) in [
            (
                "generation_tokens_total{engine=\"0\",model_name=\"tiny\"} 40.0",
                "generation_tokens_total{engine=\"0\",model_name=\"tiny\"} 41.0",
            ),
            (
                "prompt_tokens_total{engine=\"0\",model_name=\"tiny\"} 26.0",
                "prompt_tokens_total{engine=\"0\",model_name=\"tiny\"} 30.0",
            ),
            (
                "kv_cache_usage_perc{engine=\"0\",model_name=\"tiny\"} 0.0",
                "kv_cache_usage_perc{engine=\"0\",model_name=\"tiny\"} 0.2",
            ),
        ] {
            assert_ne!(with(from, to), before, "{from}");
        }
        assert_eq!(with("process_cpu_seconds_total 40.47", "process_cpu_seconds_total 41.0"), before);
    }
}
