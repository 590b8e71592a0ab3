//! An engine's HTTP port: vLLM's paths, with the launcher's middleware in front of them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::clock;
use super::engine::{Engine, Port};
use super::ids::Address;
use super::message::{Call, Reply};
use super::world::World;

const STATE: &str = "/rayfleet/v1/state";
const DRAIN: &str = "/rayfleet/v1/drain";
const WATCH: &str = "/rayfleet/v1/watch";

/// A completion request.
#[derive(Debug, Deserialize)]
pub(super) struct Prompt {
    #[serde(default)]
    model: String,
    #[serde(default = "sixteen")]
    pub(super) max_tokens: u32,
}

fn sixteen() -> u32 {
    16
}

/// The prompt of a call, if it is one to a completion path.
pub(super) fn prompt(call: &Call) -> Option<Result<Prompt, Reply>> {
    if (call.method.as_str(), call.path.as_str()) != ("POST", "/v1/completions") {
        return None;
    }
    Some(serde_json::from_slice(&call.body).map_err(|error| invalid(400, &error.to_string())))
}

/// Why an engine refuses a prompt; `None` if it accepts it.
pub(super) fn refuses(world: &World, at: &Address, prompt: &Prompt) -> Option<Reply> {
    let engine = world.engines.get(at)?;
    if engine.port == Port::Dead {
        return Some(engine.closing(engine_is_dead()));
    }
    let known = engine.model.as_ref().is_none_or(|model| *model == prompt.model);
    let reply = || invalid(404, &format!("The model `{}` does not exist.", prompt.model));
    (!known).then(|| engine.closing(reply()))
}

pub(super) fn engine_is_dead() -> Reply {
    invalid(500, "EngineCore encountered an issue. See stack trace (above) for the root cause.")
}

fn invalid(status: u16, message: &str) -> Reply {
    let error = json!({ "message": message, "type": "error", "param": null, "code": status });
    Reply::json(status, &json!({ "error": error }))
}

/// The whole answer to a prompt.
pub(super) fn completion(world: &mut World, at: &Address, prompt: &Prompt) -> Option<Reply> {
    let (now, id) = (world.now, world.ids.hex(32));
    let engine = world.engines.get(at)?;
    let text = engine.behaviour.probe_answer.clone().unwrap_or_else(|| " of course".to_owned());
    let tokens = prompt.max_tokens;
    let choice = json!({
        "index": 0, "text": text, "logprobs": null, "finish_reason": "length", "stop_reason": null, "prompt_logprobs": null,
    });
    Some(engine.closing(Reply::json(
        200,
        &json!({
            "id": format!("cmpl-{id}"), "object": "text_completion", "created": clock::timestamp(now).as_second(),
            "model": prompt.model, "choices": [choice],
            "usage": { "prompt_tokens": 4, "total_tokens": tokens.saturating_add(4), "completion_tokens": tokens },
        }),
    )))
}

/// Answers every path that needs no step of the engine.
pub(super) fn answer(world: &mut World, at: &Address, call: &Call) -> Option<Reply> {
    let now = world.now;
    let engine = world.engines.get_mut(at).filter(|engine| engine.listens())?;
    let reply = match (call.method.as_str(), call.path.as_str()) {
        (_, path) if path.starts_with("/rayfleet/") && engine.counts => {
            let reply = control(engine, call, now);
            world.touch();
            return world.engines.get(at).map(|engine| engine.closing(reply));
        }
        ("GET", "/health") if engine.port == Port::Dead => Reply::text(503, ""),
        ("GET", "/health") => Reply::text(200, ""),
        ("GET", "/metrics") => Reply::text(200, metrics(engine, now)),
        ("GET", "/v1/models") => {
            let reply = Reply::json(200, &models(engine, now));
            if engine.counts {
                engine.touched(now);
            }
            reply
        }
        _ => Reply::json(404, &json!({ "detail": "Not Found" })),
    };
    Some(engine.closing(reply))
}

/// The engine that a call wants to watch.
pub(super) fn watched(call: &Call) -> Option<Address> {
    (call.method == "GET" && call.path == WATCH).then(|| (call.ip.clone(), call.port))
}

fn control(engine: &mut Engine, call: &Call, now: std::time::Duration) -> Reply {
    let wanted = engine.token.as_ref().map(|token| format!("Bearer {token}"));
    if wanted.is_some() && call.authorization != wanted {
        return Reply::text(401, "Unauthorized: this endpoint needs Authorization: Bearer <Ray token>\n");
    }
    match (call.method.as_str(), call.path.as_str()) {
        ("POST", DRAIN) => engine.draining = true,
        ("DELETE", DRAIN) => engine.draining = false,
        ("GET", STATE | WATCH) => {}
        (_, path) => {
            let status = if [STATE, DRAIN, WATCH].contains(&path) { 405 } else { 404 };
            return Reply::text(
                status,
                "GET /rayfleet/v1/state\nGET /rayfleet/v1/watch\nPOST or DELETE /rayfleet/v1/drain\n",
            );
        }
    }
    Reply::json(200, &state(engine, now))
}

/// What the middleware says of an engine.
pub(super) fn state(engine: &Engine, now: std::time::Duration) -> Value {
    let idle = engine.last.map(|last| (now.saturating_sub(last).as_secs_f64() * 1000.0).round() / 1000.0);
    json!({
        "name": engine.name, "inFlight": engine.requests.len(), "awaiting": engine.requests.len(),
        "served": engine.served, "draining": engine.draining, "idleSeconds": idle,
    })
}

fn models(engine: &Engine, now: std::time::Duration) -> Value {
    let created = clock::timestamp(now).as_second();
    let permission = json!({
        "id": "modelperm-0", "object": "model_permission", "created": created, "allow_create_engine": false,
        "allow_sampling": true, "allow_logprobs": true, "allow_search_indices": false, "allow_view": true,
        "allow_fine_tuning": false, "organization": "*", "group": null, "is_blocking": false,
    });
    json!({ "object": "list", "data": [{
        "id": engine.model.clone().unwrap_or_default(), "object": "model", "created": created, "owned_by": "vllm",
        "root": engine.source, "parent": null, "max_model_len": 256, "permission": [permission],
    }] })
}

/// The series by which the bridge decides whether the engine makes progress, and some that must not mislead
/// it.
fn metrics(engine: &Engine, now: std::time::Duration) -> String {
    let labels = format!("{{engine=\"0\",model_name=\"{}\"}}", engine.model.as_deref().unwrap_or_default());
    let running = u64::try_from(engine.requests.len()).unwrap_or(u64::MAX);
    let series = [
        ("gauge", "vllm:num_requests_running", running),
        ("gauge", "vllm:num_requests_waiting", 0),
        ("counter", "vllm:prefix_cache_queries_total", 4 * engine.prompts),
        ("counter", "vllm:prompt_tokens_total", 4 * engine.prompts),
        ("counter", "vllm:generation_tokens_total", engine.all_tokens(now)),
    ];
    let lines = series.map(|(kind, name, value)| format!("# TYPE {name} {kind}\n{name}{labels} {value}.0\n"));
    let seconds = now.as_secs_f64();
    // It grows with time alone, as a process's own counters do.
    let own = format!("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {seconds:.2}\n");
    own + &lines.concat()
}

impl Engine {
    /// While the engine drains, adds the request to close the connection to an answer.
    fn closing(&self, reply: Reply) -> Reply {
        Reply { close: self.draining, ..reply }
    }
}
