//! The two numbers wanted of an engine's Prometheus text.

/// Requests running plus waiting, over all engine cores; `None` if the text has neither gauge.
pub(crate) fn in_flight(text: &str) -> Option<u64> {
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?.trim();
            matches!(name, "vllm:num_requests_running" | "vllm:num_requests_waiting").then_some(value)
        })
        .filter_map(|value| value.parse().ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_running_and_waiting_of_all_cores() {
        let text = "# TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 2.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 1.0\n\
            vllm:num_requests_waiting{engine=\"0\",model_name=\"a b\"} 4.0\n\
            vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 4.0\n";
        assert_eq!(in_flight(text), Some(7));
    }

    #[test]
    fn no_gauge_is_not_zero() {
        assert_eq!(in_flight(""), None);
        assert_eq!(in_flight("vllm:num_requests_running NaN\nfoo 1\n"), None);
    }
}
