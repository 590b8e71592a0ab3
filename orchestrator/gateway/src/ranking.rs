//! What both fronts do with a request before it has a head: what it asks is read from its path, headers and body, and the heads of its model
//! are ranked for it. Which protocol it came by is not known here.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use rayfleet_routing::{Choice, Strategy};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::models::{Model, Models};
use crate::question::{self, Question};
use crate::refusal::Refusal;

/// Bodies that are read at once, in bytes.
const SMALL: usize = 64 << 10;
/// Larger ones that are read at the same time.
const READERS: usize = 2;
/// Header by which a client chooses a strategy, as AIBrix has it.
const STRATEGY: &str = "routing-strategy";

/// Ranks heads. Clones share everything.
#[derive(Clone)]
pub(crate) struct Ranking {
    models: Models,
    strategy: Strategy,
    readers: Arc<Semaphore>,
    /// Kept from whoever writes prompts.
    seed: u64,
}

/// What a request wants, by its head.
pub(crate) enum Wants {
    /// What the gateway itself answers.
    Models(Value),
    /// An engine's answer to its body, from the head that this strategy ranks highest.
    Engine(Strategy),
}

/// A request whose heads are ranked.
pub(crate) struct Ranked {
    pub(crate) model: Arc<Model>,
    pub(crate) question: Question,
    /// The best first; never empty.
    pub(crate) choices: Vec<Choice>,
}

/// A refusal, with the model that the request named if it is served.
pub(crate) type Refused = (Option<Arc<str>>, Refusal);

impl Ranking {
    pub(crate) fn new(models: Models, strategy: Strategy) -> Self {
        Self { models, strategy, readers: Arc::new(Semaphore::new(READERS)), seed: rand::random() }
    }

    /// What a request wants, before its body has come.
    pub(crate) fn wants(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Wants, Refusal> {
        if method == Method::GET
            && let Some(answer) = self.list(path)?
        {
            return Ok(Wants::Models(answer));
        }
        if !question::PATHS.contains(&path) {
            return Err(Refusal::Path);
        }
        if method != Method::POST {
            return Err(Refusal::Method);
        }
        let strategy = match headers.get(STRATEGY) {
            None => self.strategy.clone(),
            Some(text) => text.to_str().unwrap_or_default().parse()?,
        };
        Ok(Wants::Engine(strategy))
    }

    /// Ranks the heads of the model that a body names.
    pub(crate) async fn rank(
        &self,
        body: &Bytes,
        headers: &HeaderMap,
        strategy: &Strategy,
    ) -> Result<Ranked, Refused> {
        let question = self.question(body, headers).await.map_err(|refusal| (None, refusal))?;
        let Some(model) = self.models.get(&question.model) else {
            return Err((None, self.unknown(question.model)));
        };
        let random = rand::random();
        match model.route(|router, now| router.pick(&question.request, strategy, now, random)) {
            Ok(choices) => Ok(Ranked { model, question, choices }),
            Err(_) => Err((Some(model.name.clone()), Refusal::NoGroup(question.model))),
        }
    }

    /// What a body asks. A large one is read on another thread: it takes a while, and many of them at a time would hold up everybody.
    async fn question(&self, body: &Bytes, headers: &HeaderMap) -> Result<Question, Refusal> {
        let seed = self.seed;
        if body.len() <= SMALL {
            return Question::read(body, headers, seed);
        }
        let _turn = self.readers.acquire().await.map_err(|_| Refusal::Full)?;
        let (body, headers) = (body.clone(), headers.clone());
        let read = tokio::task::spawn_blocking(move || Question::read(&body, &headers, seed)).await;
        read.map_err(|_| Refusal::Full)?
    }

    /// What is asked about the models themselves.
    fn list(&self, path: &str) -> Result<Option<Value>, Refusal> {
        if path == "/v1/models" {
            let models: Vec<_> = self.models.all().iter().map(|model| described(&model.name)).collect();
            return Ok(Some(json!({"object": "list", "data": models})));
        }
        let Some(name) = path.strip_prefix("/v1/models/") else { return Ok(None) };
        // Clients write the slash of a name as %2F, or as it is.
        let name = percent_decode_str(name).decode_utf8_lossy();
        match self.models.get(&name) {
            Some(model) => Ok(Some(described(&model.name))),
            None => Err(self.unknown(name.into_owned())),
        }
    }

    /// Before all was listed once a model that is missing may be there.
    fn unknown(&self, model: String) -> Refusal {
        if !self.models.is_settled() {
            return Refusal::NotYet;
        }
        let served = self.models.all().iter().map(|model| model.name.to_string()).collect();
        Refusal::Model { model, served }
    }
}

/// One model in a list, as `OpenAI`'s API has it.
fn described(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "rayfleet"})
}
