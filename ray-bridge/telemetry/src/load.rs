//! What an engine does, between two readings of its metrics: tokens, requests, time to the first token, caches. The names are vLLM's
//! ([`crate::vllm`]); what a text does not have is unknown, and a counter that fell says that the engine began again, not that it
//! undid work.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::text::{Sample, samples};
use crate::vllm::{RUNNING, WAITING};

const GENERATED: &str = "vllm:generation_tokens_total";
const PROMPT: &str = "vllm:prompt_tokens_total";
const QUERIES: &str = "vllm:prefix_cache_queries_total";
const HITS: &str = "vllm:prefix_cache_hits_total";
const PREEMPTIONS: &str = "vllm:num_preemptions_total";
const KV_USAGE: &str = "vllm:kv_cache_usage_perc";
const TTFT: &str = "vllm:time_to_first_token_seconds_bucket";
/// Set once by the process that writes the text. Not every engine reports it.
const STARTED: &str = "process_start_time_seconds";

const SERIES: [&str; 10] =
    [GENERATED, PROMPT, QUERIES, HITS, PREEMPTIONS, RUNNING, WAITING, KV_USAGE, TTFT, STARTED];

/// One reading, over all engine cores.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Requests that run.
    pub running: Option<f64>,
    /// Requests that wait.
    pub waiting: Option<f64>,
    /// Used part of the key-value cache, 0 to 1, of the core that has used most.
    pub kv_usage: Option<f64>,
    generated: Option<f64>,
    prompt: Option<f64>,
    queries: Option<f64>,
    hits: Option<f64>,
    preemptions: Option<f64>,
    ttft: Histogram,
    started: Option<f64>,
}

/// What happened between two readings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pace {
    /// Generated tokens per second.
    pub generated: Option<f64>,
    /// Prompt tokens per second, those from a cache too.
    pub prompt: Option<f64>,
    /// Preemptions per second: requests that lost their place in the cache.
    pub preemptions: Option<f64>,
    /// Part of the prompt tokens that the prefix cache had, 0 to 1; `None` if none was looked up.
    pub prefix_hits: Option<f64>,
    /// Seconds to the first token.
    pub ttft: Histogram,
}

impl Load {
    /// Reads a whole text, whoever wrote it.
    pub fn of(text: &[u8]) -> Self {
        let mut load = Self::default();
        load.add(text);
        load
    }

    /// Reads some lines more: a text may come in pieces that end at a line's end.
    pub fn add(&mut self, lines: &[u8]) {
        for sample in samples(lines, &SERIES) {
            if sample.name == TTFT {
                self.ttft.add(sample);
            } else if sample.value.is_finite() && sample.value >= 0.0 {
                self.take(sample);
            }
        }
    }

    fn take(&mut self, sample: Sample<'_>) {
        let value = sample.value;
        match sample.name {
            KV_USAGE => self.kv_usage = Some(self.kv_usage.map_or(value, |usage| usage.max(value)).min(1.0)),
            STARTED => self.started = Some(value),
            name => {
                let sum = match name {
                    GENERATED => &mut self.generated,
                    PROMPT => &mut self.prompt,
                    QUERIES => &mut self.queries,
                    HITS => &mut self.hits,
                    PREEMPTIONS => &mut self.preemptions,
                    RUNNING => &mut self.running,
                    _ => &mut self.waiting,
                };
                *sum.get_or_insert(0.0) += value;
            }
        }
    }

    /// Whether the text was that of an engine: it has at least its requests or its tokens.
    pub fn is_engine(&self) -> bool {
        self.running.is_some() || self.waiting.is_some() || self.generated.is_some()
    }

    /// What happened since an earlier reading; `None` if the engine began again in between, or no time has passed.
    pub fn since(&self, earlier: &Self, elapsed: Duration) -> Option<Pace> {
        let seconds = elapsed.as_secs_f64();
        if seconds <= 0.0 || self.began_after(earlier) {
            return None;
        }
        let more = |now: Option<f64>, then: Option<f64>| Some((now? - then?).max(0.0));
        let rate = |now, then| more(now, then).map(|more| more / seconds).filter(|rate| rate.is_finite());
        let (hits, queries) = (more(self.hits, earlier.hits), more(self.queries, earlier.queries));
        let share = |(hits, queries): (f64, f64)| (queries > 0.0).then(|| (hits / queries).min(1.0));
        Some(Pace {
            generated: rate(self.generated, earlier.generated),
            prompt: rate(self.prompt, earlier.prompt),
            preemptions: rate(self.preemptions, earlier.preemptions),
            prefix_hits: hits.zip(queries).and_then(share),
            ttft: self.ttft.since(&earlier.ttft)?,
        })
    }

    /// Another process wrote this one: it says so, or its counters fell.
    fn began_after(&self, earlier: &Self) -> bool {
        let other = self.started.zip(earlier.started).is_some_and(|(now, then)| now.total_cmp(&then).is_ne());
        let counters = |load: &Self| [load.generated, load.prompt, load.queries, load.hits, load.preemptions];
        let fell = |(now, then): (Option<f64>, Option<f64>)| match (now, then) {
            (Some(now), Some(then)) => now < then,
            (None, then) => then.is_some(),
            (Some(_), None) => false,
        };
        other || counters(self).into_iter().zip(counters(earlier)).any(fell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Quantile;

    const RECORDED: &str = include_str!("../../tests/fixtures/vllm_metrics.txt");
    const TWO_SECONDS: Duration = Duration::from_secs(2);

    fn with(changes: &[(&str, &str)]) -> Load {
        let mut text = RECORDED.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        Load::of(text.as_bytes())
    }

    fn series(name: &str, value: &str) -> String {
        format!("vllm:{name}{{engine=\"0\",model_name=\"tiny\"}} {value}")
    }

    #[test]
    fn a_recorded_text_is_read() {
        let load = Load::of(RECORDED.as_bytes());
        assert!(load.is_engine());
        assert_eq!((load.running, load.waiting, load.kv_usage), (Some(0.0), Some(0.0), Some(0.0)));
        assert_eq!((load.generated, load.prompt, load.ttft.count()), (Some(40.0), Some(26.0), 4.0));
        assert_eq!((load.queries, load.hits, load.preemptions), (Some(26.0), Some(0.0), Some(0.0)));
        assert!(!Load::of(b"process_start_time_seconds 1\n{} x\nnode_load1 3\n").is_engine());
        let mut pieces = Load::default();
        RECORDED.split_inclusive('\n').for_each(|line| pieces.add(line.as_bytes()));
        assert_eq!(pieces, load);
    }

    #[test]
    fn rates_are_per_second_of_what_came_in() {
        let before = Load::of(RECORDED.as_bytes());
        let now = with(&[
            (&series("generation_tokens_total", "40.0"), &series("generation_tokens_total", "140.0")),
            (&series("prefix_cache_queries_total", "26.0"), &series("prefix_cache_queries_total", "126.0")),
            (&series("prefix_cache_hits_total", "0.0"), &series("prefix_cache_hits_total", "25.0")),
            (
                "seconds_bucket{engine=\"0\",le=\"+Inf\",model_name=\"tiny\"} 4.0",
                "seconds_bucket{engine=\"0\",le=\"+Inf\",model_name=\"tiny\"} 6.0",
            ),
        ]);
        let pace = now.since(&before, TWO_SECONDS).unwrap();
        assert_eq!((pace.generated, pace.prompt, pace.prefix_hits), (Some(50.0), Some(0.0), Some(0.25)));
        assert_eq!(pace.ttft.quantile(0.5), Some(Quantile::Above(2560.0)));
        assert_eq!(before.since(&before, TWO_SECONDS).unwrap().prefix_hits, None, "nothing was looked up");
        assert_eq!(now.since(&before, Duration::ZERO), None);
    }

    #[test]
    fn an_engine_that_began_again_has_no_rate() {
        let before = Load::of(RECORDED.as_bytes());
        let fell = with(&[(&series("prompt_tokens_total", "26.0"), &series("prompt_tokens_total", "3.0"))]);
        assert_eq!(fell.since(&before, TWO_SECONDS), None);
        let started = "process_start_time_seconds 1.7953398";
        let other = with(&[
            (started, "process_start_time_seconds 1.8953398"),
            (&series("generation_tokens_total", "40.0"), &series("generation_tokens_total", "90.0")),
        ]);
        assert_eq!(other.since(&before, TWO_SECONDS), None, "its counters are higher already");
        assert_eq!(Load::default().since(&before, TWO_SECONDS), None);
    }

    #[test]
    fn cores_are_added_up_and_the_fullest_cache_counts() {
        let text = "vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n\
            vllm:num_requests_running{engine=\"0\"} 2\nvllm:num_requests_running{engine=\"1\"} 3\n";
        let load = Load::of(text.as_bytes());
        assert_eq!((load.kv_usage, load.running, load.waiting), (Some(0.75), Some(5.0), None));
    }

    #[test]
    fn numbers_of_nobody_are_none() {
        let text = "vllm:num_requests_running NaN\nvllm:num_requests_waiting -4\nvllm:kv_cache_usage_perc 7e300\n\
            vllm:generation_tokens_total +Inf\nvllm:prompt_tokens_total 1e308\nvllm:prompt_tokens_total 1e308\n";
        let load = Load::of(text.as_bytes());
        assert_eq!((load.running, load.waiting, load.generated), (None, None, None));
        assert_eq!(load.kv_usage, Some(1.0));
        let pace = load.since(&Load { prompt: Some(1.0), ..Load::default() }, TWO_SECONDS).unwrap();
        assert_eq!(pace.prompt, None, "their sum is infinite");
    }
}
