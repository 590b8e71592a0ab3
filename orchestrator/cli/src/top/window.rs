//! The readings of one engine over the last minute, and what they say: rates of the last interval, quantiles of the whole window. Pure:
//! times come in.

use std::collections::VecDeque;
use std::time::Duration;

use rayfleet_telemetry::histogram::Quantile;
use rayfleet_telemetry::load::Load;
use serde::Serialize;

use super::ask::Fault;

/// How far back quantiles reach.
const LONG: Duration = Duration::from_mins(1);
/// Readings that are kept at most, besides the two last ones.
const MOST: usize = 64;

/// The readings, the newest last.
#[derive(Debug, Default)]
pub(super) struct Window {
    readings: VecDeque<(Duration, Load)>,
    fault: Option<Fault>,
    began_again: bool,
}

/// What an engine does. Without a value nobody knows, or nothing happened that could be measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    pub(super) generated_tokens_per_second: Option<f64>,
    pub(super) prompt_tokens_per_second: Option<f64>,
    #[serde(serialize_with = "seconds")]
    pub(super) ttft_p50_seconds: Option<Quantile>,
    #[serde(serialize_with = "seconds")]
    pub(super) ttft_p95_seconds: Option<Quantile>,
    pub(super) running: Option<f64>,
    pub(super) waiting: Option<f64>,
    /// Used part, 0 to 1.
    pub(super) kv_usage: Option<f64>,
    /// Part of the prompt tokens, 0 to 1.
    pub(super) prefix_hit_rate: Option<f64>,
    pub(super) preemptions_per_second: Option<f64>,
}

/// As Prometheus writes a quantile above the largest bound: that bound.
#[expect(clippy::ref_option, reason = "serde asks for it")]
fn seconds<S: serde::Serializer>(quantile: &Option<Quantile>, to: S) -> Result<S::Ok, S::Error> {
    let value = |quantile: Quantile| match quantile {
        Quantile::At(seconds) | Quantile::Above(seconds) => seconds,
    };
    quantile.map(value).serialize(to)
}

impl Window {
    /// Enters an answer of the time `at`, counted from any fixed moment.
    pub(super) fn enter(&mut self, at: Duration, answer: Result<Load, Fault>) {
        let answer = answer.and_then(|load| {
            let other = || Fault::Said("it answers, but with no metrics of vLLM".to_owned());
            load.is_engine().then_some(load).ok_or_else(other)
        });
        match answer {
            Ok(load) => {
                let before = self.readings.back();
                self.began_again = before.is_some_and(|(_, before)| load.since(before, LONG).is_none());
                if self.began_again {
                    self.readings.clear();
                }
                self.readings.push_back((at, load));
                self.fault = None;
            }
            // What was read before it fell silent says nothing of now.
            Err(fault) => *self = Self { fault: Some(fault), ..Self::default() },
        }
        let old = |window: &Self| window.readings.front().is_some_and(|(then, _)| *then + LONG < at);
        while self.readings.len() > 2 && (self.readings.len() > MOST || old(self)) {
            self.readings.pop_front();
        }
    }

    /// Why there are no figures, if the last answer was none.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// What the row says beside its figures.
    pub(super) fn note(&self) -> Option<&'static str> {
        match self.readings.len() {
            _ if self.began_again => Some("the engine began again: rates follow"),
            1 => Some("measuring"),
            _ => None,
        }
    }

    /// What it does now; `None` if it was not read.
    pub(super) fn figures(&self) -> Option<Figures> {
        let (at, now) = self.readings.back()?;
        let since = |(then, load): &(Duration, Load)| now.since(load, at.saturating_sub(*then));
        let last = self.readings.iter().rev().nth(1).and_then(since).unwrap_or_default();
        let long = self.readings.front().and_then(since).unwrap_or_default();
        Some(Figures {
            generated_tokens_per_second: last.generated,
            prompt_tokens_per_second: last.prompt,
            ttft_p50_seconds: long.ttft.quantile(0.5),
            ttft_p95_seconds: long.ttft.quantile(0.95),
            running: now.running,
            waiting: now.waiting,
            kv_usage: now.kv_usage,
            prefix_hit_rate: last.prefix_hits,
            preemptions_per_second: last.preemptions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(tokens: f64, quick: u32, all: u32) -> Load {
        let bucket = |bound: &str, count| {
            format!("vllm:time_to_first_token_seconds_bucket{{le=\"{bound}\"}} {count}\n")
        };
        let text = format!("vllm:generation_tokens_total {tokens}\nvllm:num_requests_running 2\n");
        Load::of((text + &bucket("1", quick) + &bucket("+Inf", all)).as_bytes())
    }

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rates_are_of_the_last_interval_and_quantiles_of_the_last_minute() {
        let mut window = Window::default();
        window.enter(after(0), Ok(load(0.0, 0, 0)));
        let first = window.figures().unwrap();
        assert_eq!((first.running, first.generated_tokens_per_second), (Some(2.0), None));
        assert_eq!(window.note(), Some("measuring"));
        window.enter(after(2), Ok(load(100.0, 4, 4)));
        window.enter(after(4), Ok(load(140.0, 4, 4)));
        let figures = window.figures().unwrap();
        assert_eq!(figures.generated_tokens_per_second, Some(20.0));
        assert_eq!(figures.ttft_p50_seconds, Some(Quantile::At(0.5)));
        window.enter(after(70), Ok(load(140.0, 4, 4)));
        let later = window.figures().unwrap();
        assert_eq!((later.generated_tokens_per_second, later.ttft_p50_seconds), (Some(0.0), None));
        assert_eq!((window.readings.len(), window.note()), (2, None));
    }

    #[test]
    fn an_engine_that_began_again_is_never_a_negative_rate() {
        let mut window = Window::default();
        window.enter(after(0), Ok(load(500.0, 9, 9)));
        window.enter(after(2), Ok(load(3.0, 0, 0)));
        assert_eq!(window.note(), Some("the engine began again: rates follow"));
        assert_eq!(window.figures().unwrap().generated_tokens_per_second, None);
        window.enter(after(4), Ok(load(13.0, 0, 0)));
        assert_eq!((window.note(), window.figures().unwrap().generated_tokens_per_second), (None, Some(5.0)));
    }

    #[test]
    fn a_fault_leaves_no_figures_behind() {
        let mut window = Window::default();
        window.enter(after(0), Ok(load(500.0, 9, 9)));
        window.enter(after(2), Err(Fault::Silent(after(5))));
        assert_eq!((window.figures(), window.fault()), (None, Some(&Fault::Silent(after(5)))));
        window.enter(after(4), Ok(Load::of(b"node_load1 3\n")));
        assert!(window.fault().unwrap().words().contains("no metrics of vLLM"));
        window.enter(after(6), Ok(load(1.0, 0, 0)));
        assert_eq!((window.fault(), window.note()), (None, Some("measuring")));
    }

    #[test]
    fn readings_are_bounded() {
        let mut window = Window::default();
        (0..10_000).for_each(|millis| window.enter(Duration::from_millis(millis), Ok(load(1.0, 0, 0))));
        assert_eq!(window.readings.len(), MOST);
    }
}
