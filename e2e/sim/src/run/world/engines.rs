//! Behaviour of a scenario's engines, derived from the fleet's engine arguments: the options of the tests'
//! light engine.

use std::time::Duration;

use rayfleet_sim_ray::EngineBehaviour;

/// Default load time of an engine.
const LOAD: Duration = Duration::from_secs(5);
/// Default tokens per second.
const TOKENS: f64 = 20.0;

/// The behaviour of an engine for a model and arguments. A model whose path ends in `absent` does not
/// exist.
pub(super) fn behaviour(source: &str, arguments: &[String]) -> EngineBehaviour {
    let number = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1)?.parse::<f64>().ok().filter(|number| *number > 0.0)
    };
    let load = number("--load-seconds").map_or(LOAD, Duration::from_secs_f64);
    let token_time = Duration::from_secs_f64(1.0 / number("--tokens-per-second").unwrap_or(TOKENS));
    let fails =
        source.ends_with("absent").then(|| format!("FileNotFoundError: {source}: there is no such model"));
    EngineBehaviour { load, fails, token_time, ..EngineBehaviour::default() }
}
