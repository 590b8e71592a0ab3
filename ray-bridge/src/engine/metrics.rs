//! What is wanted of an engine's Prometheus text: how many requests it has, and whether it gets on. The names of the
//! series are the engine's affair.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::kind::Engine;

/// Requests running plus waiting, over all engine cores; `None` if the text has neither gauge.
pub(crate) fn in_flight(engine: &dyn Engine, text: &str) -> Option<u64> {
    let values: Vec<f64> = series(text, engine.in_flight())
        .filter_map(|(_, value)| value.parse().ok())
        .filter(|value: &f64| value.is_finite() && *value >= 0.0)
        .collect();
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

/// A number that changes with every step that the engine has ended; `None` if the text counts no tokens.
pub(crate) fn progress(engine: &dyn Engine, text: &str) -> Option<u64> {
    series(text, engine.steps().get(..1).unwrap_or_default()).next()?;
    let mut hasher = DefaultHasher::new();
    series(text, engine.steps()).for_each(|line| line.hash(&mut hasher));
    Some(hasher.finish())
}

/// Series of these names, with labels, and their values as they stand there.
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
    fn adds_up_running_and_waiting_of_all_cores() {
        let text = "# TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 2.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 1.0\n\
            vllm:num_requests_waiting{engine=\"0\",model_name=\"a b\"} 4.0\n\
            vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 4.0\n";
        assert_eq!(in_flight(&Vllm, text), Some(7));
    }

    #[test]
    fn no_gauge_is_not_zero() {
        assert_eq!(in_flight(&Vllm, ""), None);
        assert_eq!(in_flight(&Vllm, "vllm:num_requests_running NaN\nfoo 1\n"), None);
        assert_eq!(progress(&Vllm, "vllm:num_requests_running 1.0\n"), None);
    }

    #[test]
    fn recorded_metrics_change_with_steps_and_with_nothing_else() {
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
