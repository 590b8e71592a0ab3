//! vLLM's series, by the names of 0.32; custom engines use the same. What a text does not have is unknown. Of the names here
//! `kv_cache_usage_perc` has been there since 0.10 at the latest, as the successor of `gpu_cache_usage_perc`, which has been removed
//! (pull requests 18354 and 29330 of vLLM), and older engines report no `num_requests_waiting_by_reason`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::text::{Sample, samples};

/// Requests that run, for each engine core.
pub const RUNNING: &str = "vllm:num_requests_running";
/// Requests that wait, for whatever reason.
pub const WAITING: &str = "vllm:num_requests_waiting";
/// Requests that wait, by the label `reason`: `capacity`, or `deferred` while the core's steps skip them, as their grammar is being
/// compiled, they have no slot for their adapter, or their key-value cache is being transferred. vLLM sets all three gauges after each
/// step, also an empty one (0.32, `v1/core/sched/scheduler.py` `make_stats`, `v1/metrics/loggers.py` `record`).
const WAITING_BY_REASON: &str = "vllm:num_requests_waiting_by_reason";
/// Share of the key-value cache in use, 0 to 1, for each engine core.
const KV_USE: &str = "vllm:kv_cache_usage_perc";
/// Generated tokens.
const GENERATED: &str = "vllm:generation_tokens_total";

/// The series that are read. vLLM updates all but the last when a step of its engine core has ended, and at no other time. Tokens and
/// iterations are counted when tokens are generated; in the long prefill of a long prompt only the use of the key-value cache shows
/// progress.
const SERIES: [&str; 8] = [
    GENERATED,
    "vllm:prompt_tokens_total",
    "vllm:iteration_tokens_total_count",
    "vllm:prefix_cache_queries_total",
    KV_USE,
    RUNNING,
    WAITING,
    WAITING_BY_REASON,
];

/// What one text says about an engine's requests, over all of its cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    /// Requests running and waiting; `None` if the text has neither gauge.
    pub in_flight: Option<u64>,
    /// A fingerprint that differs from that of an earlier reading if the engine has made a step since, and only then; its size has no
    /// meaning. `None` if the text does not count tokens.
    pub progress: Option<u64>,
    /// Largest share of its key-value cache that a core uses, 0 to 1.
    pub kv_use: Option<f64>,
    /// Deferred requests, if the engine has no other ones; 0 if it has, or if it does not report the reason.
    pub deferred: u64,
}

impl Reading {
    /// Reads a text, whoever wrote it.
    pub fn of(text: &[u8]) -> Self {
        let (mut running, mut waiting, mut deferred) = (None, None, None);
        let mut kv_use: Option<f64> = None;
        let (mut counts_tokens, mut steps) = (false, DefaultHasher::new());
        for sample in samples(text, &SERIES) {
            match sample.name {
                RUNNING => add(&mut running, sample),
                WAITING => add(&mut waiting, sample),
                WAITING_BY_REASON => {
                    if sample.labels.get("reason").is_some_and(|reason| reason == "deferred") {
                        add(&mut deferred, sample);
                    }
                    continue;
                }
                KV_USE => kv_use = sooner_full(kv_use, sample.value),
                name => counts_tokens |= name == GENERATED,
            }
            (sample.name, sample.labels, sample.value.to_bits()).hash(&mut steps);
        }
        let deferred = deferred.map_or(0, number);
        let has_others = running.map(number) != Some(0) || waiting.map(number) != Some(deferred);
        let gauges = [running, waiting].into_iter().flatten().reduce(|running, waiting| running + waiting);
        Self {
            in_flight: gauges.map(number),
            progress: counts_tokens.then(|| steps.finish()),
            kv_use,
            deferred: if has_others { 0 } else { deferred },
        }
    }
}

/// The larger share, of what can be one.
fn sooner_full(known: Option<f64>, share: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&share) {
        return known;
    }
    Some(known.map_or(share, |known| known.max(share)))
}

/// Adds what can be a number of requests.
fn add(sum: &mut Option<f64>, sample: Sample<'_>) {
    if sample.value.is_finite() && sample.value >= 0.0 {
        *sum.get_or_insert(0.0) += sample.value;
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; a cast saturates")]
fn number(requests: f64) -> u64 {
    requests.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../../tests/fixtures/vllm_metrics.txt");

    fn read(text: &str) -> Reading {
        Reading::of(text.as_bytes())
    }

    #[test]
    fn running_and_waiting_requests_of_all_cores_are_added_up() {
        let text = "# TYPE vllm:num_requests_running gauge\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 2.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 1.0\n\
            vllm:num_requests_waiting{engine=\"0\",model_name=\"a b\"} 4.0\n\
            vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 4.0\n";
        assert_eq!(read(text).in_flight, Some(7));
    }

    #[test]
    fn the_core_whose_cache_is_fullest_counts() {
        let text = "vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.5\n\
            vllm:kv_cache_usage_perc{engine=\"2\"} NaN\nvllm:kv_cache_usage_perc{engine=\"3\"} 7\n";
        assert_eq!(read(text).kv_use, Some(0.5));
        assert_eq!(read("").kv_use, None);
    }

    #[test]
    fn a_missing_gauge_is_none_and_not_zero() {
        assert_eq!(read(""), Reading::default());
        assert_eq!(read("vllm:num_requests_running NaN\nfoo 1\n").in_flight, None);
        let running = read("vllm:num_requests_running 1.0\n");
        assert_eq!((running.in_flight, running.progress), (Some(1), None));
    }

    #[test]
    fn requests_are_deferred_only_if_all_of_the_engine_are() {
        let with = |running: u32, waiting: u32, deferred: u32| {
            let mut text = RECORDED.to_owned();
            for (series, value) in [
                ("running{engine=\"0\",model_name=\"tiny\"}", running),
                ("waiting{engine=\"0\",model_name=\"tiny\"}", waiting),
                ("waiting_by_reason{engine=\"0\",model_name=\"tiny\",reason=\"deferred\"}", deferred),
            ] {
                let series = format!("vllm:num_requests_{series}");
                assert!(RECORDED.contains(&format!("{series} 0.0")), "{series}");
                text = text.replace(&format!("{series} 0.0"), &format!("{series} {value}.0"));
            }
            read(&text).deferred
        };
        assert_eq!(with(0, 2, 2), 2);
        assert_eq!(with(1, 2, 2), 0, "a running request needs steps");
        assert_eq!(with(0, 3, 2), 0, "one waits for room in a step");
        assert_eq!(with(0, 0, 0), 0, "no request so far");
        let older = "vllm:num_requests_running 0.0\nvllm:num_requests_waiting 1.0\n";
        assert_eq!(read(older).deferred, 0, "an engine without the reason");
    }

    #[test]
    fn recorded_metrics_change_only_with_steps() {
        let with = |from: &str, to: &str| {
            assert!(RECORDED.contains(from), "{from}");
            read(&RECORDED.replace(from, to)).progress
        };
        let before = read(RECORDED).progress;
        assert!(before.is_some());
        for (series, from, to) in [
            ("generation_tokens_total", "40.0", "41.0"),
            ("prompt_tokens_total", "26.0", "30.0"),
            ("kv_cache_usage_perc", "0.0", "0.2"),
        ] {
            let line = |value| format!("vllm:{series}{{engine=\"0\",model_name=\"tiny\"}} {value}");
            assert_ne!(with(&line(from), &line(to)), before, "{series}");
        }
        assert_eq!(with("process_cpu_seconds_total 40.47", "process_cpu_seconds_total 41.0"), before);
        let reason = "reason=\"capacity\"}";
        assert_eq!(with(&format!("{reason} 0.0"), &format!("{reason} 1.0")), before);
    }
}
