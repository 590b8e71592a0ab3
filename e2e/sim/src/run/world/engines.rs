//! How the engines of a scenario behave, from what the fleet gives them: the options of the tests' light engine.

use std::time::Duration;

use rayfleet_sim_ray::EngineBehaviour;

/// How long an engine loads, unless its arguments say it.
const LOAD: Duration = Duration::from_secs(5);
/// Tokens per second, unless the arguments say it.
const TOKENS: f64 = 20.0;

/// The behaviour of an engine of this model and these arguments. A model whose path ends in `absent` is not there.
pub(super) fn behaviour(source: &str, arguments: &[String]) -> EngineBehaviour {
    let number = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1)?.parse::<f64>().ok().filter(|number| *number > 0.0)
    };
    let load = number("--load-seconds").map_or(LOAD, Duration::from_secs_f64);
    let token_time = Duration::from_secs_f64(1.0 / number("--tokens-per-second").unwrap_or(TOKENS));
    let fails =
        source.ends_with("absent").then(|| format!("FileNotFoundError: {source}: there is no such model"));
    EngineBehaviour { load, fails, token_time, probe_answer: None }
}
