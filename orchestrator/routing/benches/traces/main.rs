//! What strategies are worth: requests of a recorded trace over engines that are played, in simulated time.
//!
//! `cargo bench -p rayfleet-routing --bench traces -- FILE [GROUPS] [SPEED]`: FILE is Mooncake's trace (`.jsonl`, with the blocks of each
//! prompt) or one of Azure's (`.csv`, with lengths alone, so that no two prompts share anything). GROUPS is 8 unless given; SPEED divides the
//! time between requests. Results depend on the engine's model (`engine`), which is not held to a real engine: compare rows, not figures.

mod engine;
mod policy;
mod trace;

use std::error::Error;

use engine::{Done, Engine};
use policy::Policy;
use trace::Asked;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench`; without a file there is nothing to do, as when all benches are run.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some(file) = arguments.first() else {
        say("no trace is given: cargo bench -p rayfleet-routing --bench traces -- FILE [GROUPS] [SPEED]");
        return Ok(());
    };
    let groups = arguments.get(1).map_or(Ok(8), |text| text.parse::<usize>())?.clamp(1, 1000);
    let speed = arguments.get(2).map_or(Ok(1.0), |text| text.parse::<f64>())?;
    let asked = trace::read(std::path::Path::new(file), speed)?;
    let names = [
        "random",
        "round-robin",
        "least-request",
        "power-of-two",
        "aibrix-prefix-cache",
        "smg-cache-aware",
        "prefix-cache",
        "least-work",
    ];
    say(&format!("{} requests, {groups} groups, {speed} times as fast", asked.len()));
    say(
        "policy                 TTFT mean      P50      P99   whole mean      P99   cached  busy  busiest/mean",
    );
    for name in names {
        let (done, engines) = run(&asked, groups, &mut Policy::named(name, groups)?);
        report(name, &done, &engines);
    }
    Ok(())
}

/// Plays a trace to its end.
fn run(asked: &[Asked], groups: usize, policy: &mut Policy) -> (Vec<Done>, Vec<Engine>) {
    let mut engines: Vec<Engine> = (0..groups).map(|_| Engine::default()).collect();
    let mut done = Vec::with_capacity(asked.len());
    let mut said = 0.0;
    for (number, request) in asked.iter().enumerate() {
        advance(&mut engines, request.at, policy, &mut done);
        // Engines are asked once a second.
        if request.at - said >= 1.0 {
            said = request.at;
            for (engine, at) in engines.iter().zip(0..) {
                policy.report(at, engine.requests(), request.at);
            }
        }
        let to = policy.pick(number, request);
        if let Some(engine) = engines.get_mut(to) {
            engine.add(number, request);
        }
    }
    advance(&mut engines, f64::INFINITY, policy, &mut done);
    (done, engines)
}

/// Lets all engines work until a moment, in the order in which things happen.
fn advance(engines: &mut [Engine], until: f64, policy: &mut Policy, done: &mut Vec<Done>) {
    loop {
        let next = engines.iter().map(Engine::next).zip(0..).min_by(|one, other| one.0.total_cmp(&other.0));
        let Some((when, at)) = next.filter(|(when, _)| *when <= until && when.is_finite()) else { return };
        let Some(engine) = engines.get_mut(at) else { return };
        let (first, ended) = engine.step();
        for number in first {
            policy.answered(number);
        }
        for ended in ended {
            policy.end(ended.number, when);
            done.push(ended);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(name: &str, done: &[Done], engines: &[Engine]) {
    let mut first: Vec<f64> = done.iter().map(|done| done.first - done.asked).collect();
    let mut whole: Vec<f64> = done.iter().map(|done| done.ended - done.asked).collect();
    first.sort_by(f64::total_cmp);
    whole.sort_by(f64::total_cmp);
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len().max(1) as f64;
    let percent =
        |times: &[f64], percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    let (cached, prompts) =
        done.iter().fold((0, 0), |(cached, all), done| (cached + done.cached, all + done.prompt));
    let busy: Vec<f64> = engines.iter().map(|engine| engine.busy).collect();
    let span = done.iter().map(|done| done.ended).fold(0.0, f64::max);
    let most = busy.iter().copied().fold(0.0, f64::max);
    say(&format!(
        "{name:<22} {:>8.2} s {:>6.2} s {:>6.2} s   {:>8.2} s {:>6.2} s   {:>4.0} %  {:>3.0} %  {:.2}",
        mean(&first),
        percent(&first, 50),
        percent(&first, 99),
        mean(&whole),
        percent(&whole, 99),
        100.0 * cached as f64 / prompts.max(1) as f64,
        100.0 * mean(&busy) / span.max(1e-9),
        most / mean(&busy).max(1e-9),
    ));
}

#[expect(clippy::print_stdout, reason = "a program that prints figures")]
fn say(line: &str) {
    println!("{line}");
}
