//! What a request asks, as far as its way depends on it: its model, how its prompt begins, its session. The body is taken apart without
//! being copied or understood: whether it is a good request is for the engine to say.

use http::HeaderMap;
use rayfleet_routing::{PromptHasher, Request};
use rayfleet_text::pieces::each_field;

use crate::refusal::Refusal;

/// Paths that lead to an engine. Others are refused: vLLM has some that change the engine (`/v1/load_lora_adapter`, `/sleep`) beside
/// those that ask it.
pub(crate) const PATHS: [&str; 7] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/rerank",
    "/v1/responses",
    "/v1/score",
];

/// Headers by which a client names its session. The first is AIBrix's name for that; the second is one that its gateway gives out, and
/// llm-d's clients choose.
const SESSIONS: [&str; 2] = ["x-aibrix-session-key", "x-session-id"];
/// Longest name of a session that counts.
const LONGEST_SESSION: usize = 256;

/// Fields that an engine's prompt is made of, in the order in which chat templates write them. Conversations grow at the end of the last.
const PROMPT: [&str; 8] =
    ["tools", "system", "instructions", "prompt", "messages", "input", "query", "text_1"];
/// Fields without which two requests share no cache.
const SCOPE: [&str; 2] = ["model", "cache_salt"];
/// Longest name of a field that is looked at, escapes included.
const LONGEST_FIELD: usize = 100;

/// What routing needs of a request.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) model: String,
    pub(crate) request: Request,
}

impl Question {
    pub(crate) fn read(body: &[u8], headers: &HeaderMap, seed: u64) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::Json)?;
        let mut fields = Fields::default();
        each_field(text, |name, value| fields.take(name, value)).ok_or(Refusal::Json)?;
        let model = fields.of("model").ok_or(Refusal::NoModel)?;
        let model: String = serde_json::from_str(model).map_err(|_| Refusal::NoModel)?;
        let scope = SCOPE.iter().filter_map(|name| fields.of(name)).collect::<Vec<_>>().join("\n");
        let mut prompt = PromptHasher::new(seed, scope.as_bytes());
        for piece in PROMPT.iter().filter_map(|name| fields.of(name)) {
            prompt.push(piece.as_bytes());
        }
        let named = SESSIONS.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
        let mut usable = named.filter(|name| !name.is_empty() && name.len() <= LONGEST_SESSION);
        let session = usable.next().map(str::to_owned);
        Ok(Self { model, request: Request { prompt: prompt.finish(), session } })
    }
}

/// The fields that are looked at, whatever else there is. Of a name that is there twice the last counts, as engines read it.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<&'a str>; PROMPT.len() + SCOPE.len()],
}

impl<'a> Fields<'a> {
    fn take(&mut self, quoted: &'a str, value: &'a str) {
        if let Some(place) = known(quoted).and_then(|at| self.values.get_mut(at)) {
            *place = Some(value);
        }
    }

    fn of(&self, name: &str) -> Option<&'a str> {
        *self.values.get(place(name)?)?
    }
}

/// Where a field is kept, by its name in quotes. Names may be written with escapes: `"\u006dodel"` is a model, too.
fn known(quoted: &str) -> Option<usize> {
    if quoted.len() > LONGEST_FIELD {
        return None;
    }
    if quoted.contains('\\') {
        return place(&serde_json::from_str::<String>(quoted).ok()?);
    }
    place(quoted.strip_prefix('"')?.strip_suffix('"')?)
}

fn place(name: &str) -> Option<usize> {
    SCOPE.iter().chain(&PROMPT).position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Question, Refusal> {
        Question::read(body.as_bytes(), &HeaderMap::new(), 1)
    }

    #[test]
    fn the_model_is_named_and_the_rest_is_the_engines_business() {
        let question =
            read(r#"{"messages": [1, {"role": null}], "stream": true, "model": "meta\u002fllama"}"#).unwrap();
        assert_eq!(question.model, "meta/llama");
        // Twice: as Python's json, the last one.
        assert_eq!(read(r#"{"model": "a", "model": "b"}"#).unwrap().model, "b");
        assert_eq!(read(r#"{"model": "a", "\u006dodel": "b"}"#).unwrap().model, "b");
    }

    #[test]
    fn what_names_no_model_is_refused() {
        for (body, refusal) in [
            ("", "Json"),
            ("[]", "Json"),
            (r#"{"model": "a""#, "Json"),
            (r#"{"prompt": "x"}"#, "NoModel"),
            (r#"{"model": 3}"#, "NoModel"),
            (r#"{"model": "a\ud800"}"#, "NoModel"),
        ] {
            assert_eq!(format!("{:?}", read(body).unwrap_err()), refusal, "{body}");
        }
        assert!(matches!(Question::read(&[b'{', 0xff, b'}'], &HeaderMap::new(), 1), Err(Refusal::Json)));
    }

    #[test]
    fn a_conversation_that_goes_on_begins_alike() {
        let turn = |messages: &str| {
            read(&format!(r#"{{"model": "a", "temperature": 0.1, "messages": [{messages}]}}"#)).unwrap()
        };
        let first = format!(r#"{{"role": "user", "content": "{}"}}"#, "why? ".repeat(4000));
        let (one, two) =
            (turn(&first), turn(&format!(r#"{first}, {{"role": "assistant", "content": "so"}}"#)));
        let mut router = rayfleet_routing::Router::default();
        router.set_endpoints([("e".into(), "a:1".into())]);
        let _ticket = router.begin(&"e".into(), &one.request.prompt);
        let mut cached = |question: &Question| {
            let choices = router.pick(
                &question.request,
                &rayfleet_routing::Strategy::default(),
                std::time::Duration::ZERO,
                1,
            );
            choices.unwrap().first().unwrap().cached
        };
        assert!(cached(&two) * 10 >= two.request.prompt.tokens() * 9);
        let salted =
            read(&format!(r#"{{"model": "a", "cache_salt": "mine", "messages": [{first}]}}"#)).unwrap();
        assert_eq!(cached(&salted), 0);
    }

    #[test]
    fn a_session_is_named_by_a_header() {
        let session =
            |headers: &HeaderMap| Question::read(br#"{"model": "a"}"#, headers, 1).unwrap().request.session;
        let mut headers = HeaderMap::new();
        headers.insert("x-session-id", "abc".parse().unwrap());
        assert_eq!(
            Question::read(br#"{"model": "a"}"#, &headers, 1).unwrap().request.session.as_deref(),
            Some("abc")
        );
        headers.insert("x-aibrix-session-key", "".parse().unwrap());
        assert_eq!(session(&headers).as_deref(), Some("abc"));
        headers.insert("x-aibrix-session-key", "key".parse().unwrap());
        assert_eq!(session(&headers).as_deref(), Some("key"));
        headers.remove("x-aibrix-session-key");
        headers.insert("x-session-id", "a".repeat(300).parse().unwrap());
        assert_eq!(Question::read(br#"{"model": "a"}"#, &headers, 1).unwrap().request.session, None);
    }
}
