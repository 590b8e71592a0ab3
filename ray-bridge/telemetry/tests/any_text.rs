//! The parser against texts of anybody: none makes it panic, and what the format allows is read as it was written.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rayfleet_telemetry::histogram::Quantile;
use rayfleet_telemetry::load::Load;
use rayfleet_telemetry::ray::Gpus;
use rayfleet_telemetry::text::samples;
use rayfleet_telemetry::vllm::Reading;

const NAMES: [&str; 3] = ["vllm:num_requests_running", "a_bucket", "b"];

/// Series that a load is read from, with labels.
const LOAD: [&str; 9] = [
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:num_preemptions_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:kv_cache_usage_perc",
    "vllm:time_to_first_token_seconds_bucket{le=\"-1\"}",
    "vllm:time_to_first_token_seconds_bucket{le=\"1e300\"}",
    "vllm:time_to_first_token_seconds_bucket{le=\"+Inf\"}",
];

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), 0.0..10.0, Just(f64::MAX), Just(f64::NAN)]
}

/// A sample, and what stands around it.
#[derive(Debug, Clone)]
struct Written {
    name: &'static str,
    labels: BTreeMap<String, String>,
    value: f64,
    time: Option<i64>,
    blank: &'static str,
    exemplar: bool,
}

fn written() -> impl Strategy<Value = Written> {
    let labels = btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,5}", any::<String>(), 0..4);
    let blank = prop::sample::select(vec!["", " ", "\t "]);
    let value = prop_oneof![
        any::<f64>(),
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0])
    ];
    (prop::sample::select(&NAMES[..]), labels, value, any::<Option<i64>>(), blank, any::<bool>()).prop_map(
        |(name, labels, value, time, blank, exemplar)| Written { name, labels, value, time, blank, exemplar },
    )
}

impl Written {
    fn line(&self) -> String {
        let mut line = format!("{}{}{}", self.blank, self.name, self.blank);
        if !self.labels.is_empty() {
            let label = |(name, value): (&String, &String)| {
                let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                format!("{name}{}=\"{value}\"", self.blank)
            };
            let labels: Vec<String> = self.labels.iter().map(label).collect();
            write!(line, "{{{}}}", labels.join(&format!("{},", self.blank))).unwrap();
        }
        write!(line, " {}", self.value).unwrap();
        if let Some(time) = self.time {
            write!(line, " {time}").unwrap();
        }
        line + if self.exemplar { " # {id=\"} 1 # {\"} 0.5 1.5\n" } else { "\n" }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(all in vec(written(), 0..6)) {
        let noise = "# HELP b some b 1\n\nother{b=\"b 1\"} 7\n";
        let text: String = all.iter().map(|sample| sample.line() + noise).collect();
        let read: Vec<_> = samples(text.as_bytes(), &NAMES).collect();
        prop_assert_eq!(read.len(), all.len(), "{}", text);
        for (read, written) in read.iter().zip(&all) {
            prop_assert_eq!(read.name, written.name);
            let is_same = read.value.to_bits() == written.value.to_bits();
            prop_assert!(is_same || read.value.is_nan() && written.value.is_nan(), "{}", text);
            for (name, value) in &written.labels {
                let found = read.labels.get(name);
                prop_assert_eq!(found.as_deref(), Some(value.as_str()), "{}", text);
            }
            prop_assert_eq!(read.labels.get("none of them"), None);
        }
    }

    #[test]
    fn no_bytes_panic_and_none_become_more_samples_than_lines(
        all in vec(written(), 0..4),
        pieces in vec((any::<prop::sample::Index>(), vec(any::<u8>(), 0..4), 0..9_usize), 0..6),
        noise in vec(any::<u8>(), 0..200),
    ) {
        let mut text: Vec<u8> = all.iter().flat_map(|sample| sample.line().into_bytes()).collect();
        text.extend(noise);
        for (at, piece, dropped) in pieces {
            let at = at.index(text.len() + 1);
            text.splice(at..text.len().min(at + dropped), piece);
        }
        let lines = text.split(|byte| *byte == b'\n').count();
        let found: Vec<_> = samples(&text, &NAMES).collect();
        prop_assert!(found.len() <= lines);
        for sample in found {
            prop_assert!(sample.labels.get("l").is_none_or(|value| value.len() <= text.len()));
        }
        Reading::of(&text);
        Gpus::of(&text);
        Load::of(&text);
    }

    #[test]
    fn no_numbers_become_a_rate_below_zero_or_a_share_beyond_one(
        texts in prop::array::uniform2(vec((0..LOAD.len(), number()), 0..12)),
        seconds in prop_oneof![Just(0.0), 1e-9..1e9],
    ) {
        let [before, now] = texts.map(|all| {
            let lines: Vec<String> = all.iter().map(|(name, value)| format!("{} {value}\n", LOAD[*name])).collect();
            Load::of(lines.concat().as_bytes())
        });
        let pace = now.since(&before, Duration::from_secs_f64(seconds)).unwrap_or_default();
        for rate in [pace.generated, pace.prompt, pace.preemptions].into_iter().flatten() {
            prop_assert!(rate.is_finite() && rate >= 0.0, "{}", rate);
        }
        for share in [pace.prefix_hits, now.kv_usage].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&share), "{}", share);
        }
        for share in [0.0, 0.5, 0.95, 1.0] {
            let quantile = pace.ttft.quantile(share);
            let value = quantile.map(|quantile| match quantile {
                Quantile::At(at) | Quantile::Above(at) => at,
            });
            prop_assert!(value.is_none_or(|value| !value.is_nan()), "{:?}", quantile);
        }
    }
}
