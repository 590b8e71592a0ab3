//! What is hidden in a text, whoever wrote it: by the names in front of values, and by the form of known tokens. A line of a log
//! costs some microseconds. Pure.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::HIDDEN;
use super::names::{is_secret_field, is_secret_variable, looks_like_variable};

/// A rule: what is searched, and what becomes of it.
type Rule = (LazyLock<Regex>, fn(&Captures<'_>) -> String);

/// Compiled on first use; a test compiles all.
fn compiled(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are constants, and a test compiles each")]
    Regex::new(pattern).expect("a pattern of this file")
}

macro_rules! pattern {
    ($pattern:expr) => {
        LazyLock::new(|| compiled($pattern))
    };
}

/// A value behind a name: in brackets, in quotes that may be escaped, or a word.
const VALUE: &str = r#"\[[^\]]*\]|\\+"[^"]*"|"(?:[^"\\]|\\.)*"|\\*'[^']*'|[^\s,;&|)}\]"'\\]+"#;

/// In this order.
static RULES: [Rule; 9] = [
    // Headers: all of the value, whatever its scheme.
    (
        pattern!(
            r#"(?i)\b((?:proxy-|x-ray-)?authorization|x-api-key|api-key|(?:set-)?cookie)((?:\\*["'])?\s*:\s*(?:\\*["'])?)([^"'\\\r\n]+)"#
        ),
        |found| format!("{}{}{HIDDEN}", &found[1], &found[2]),
    ),
    (pattern!(r"(?i)\b(bearer|basic)(\s+|%20)[A-Za-z0-9._~+/=:-]{8,}"), |found| {
        format!("{}{}{HIDDEN}", &found[1], &found[2])
    }),
    // Up to the last @ in front of the host: a password may hold one.
    (pattern!(r#"\b([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>?#]*@"#), |found| format!("{}{HIDDEN}@", &found[1])),
    // A variable as Kubernetes writes it, in a text: {"name": "HF_TOKEN", "value": "…"}, and as YAML.
    (
        LazyLock::new(|| {
            compiled(&format!(
                r#"\b(name\\*["']?\s*[:=]\s*\\*["']?)([A-Za-z_][A-Za-z0-9_.-]*)((?:\\*["'])?(?:\\n|[\s,])*\\*["']?value\\*["']?\s*[:=]\s*)({VALUE})"#
            ))
        }),
        |found| {
            if is_secret_variable(&found[2]) {
                format!("{}{}{}{}", &found[1], &found[2], &found[3], quoted(&found[4]))
            } else {
                found[0].to_owned()
            }
        },
    ),
    // Assignments: NAME=value, 'name': 'value', name = value.
    (
        LazyLock::new(|| {
            compiled(&format!(r#"([A-Za-z_][A-Za-z0-9_.-]*)((?:\\*["'])?\s*(?::|=>?)\s*)({VALUE})"#))
        }),
        |found| {
            if is_hidden(&found[1], &found[3]) {
                format!("{}{}{}", &found[1], &found[2], quoted(&found[3]))
            } else {
                found[0].to_owned()
            }
        },
    ),
    // Flags: --api-key value, and --api-key several of them.
    (
        pattern!(
            r#"(--?[A-Za-z][A-Za-z0-9_-]*)((?:\\*["'])?,?\s+)((?:(?:\\*"[^"]*"|\\*'[^']*'|[^\s"'\\;|&<>-][^\s;|&<>]*)[ \t,]*)+)"#
        ),
        |found| {
            if is_secret_field(&found[1]) {
                let many = found[1].to_ascii_lowercase().replace('_', "-").ends_with("api-key");
                format!("{}{}{}", &found[1], &found[2], words(&found[3], many))
            } else {
                found[0].to_owned()
            }
        },
    ),
    // Tokens with a form of their own: Hugging Face, OpenAI, AWS, GitHub, GitLab, Slack, Google, NVIDIA, JWT, age.
    (
        pattern!(
            r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{20,}|nvapi-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|AGE-SECRET-KEY-[A-Z0-9]{20,})"
        ),
        |_| HIDDEN.to_owned(),
    ),
    (pattern!(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), |_| HIDDEN.to_owned()),
    (pattern!(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"), |_| {
        format!("-----BEGIN PRIVATE KEY-----{HIDDEN}-----END PRIVATE KEY-----")
    }),
];

/// The text with everything hidden that the rules know.
pub(super) fn hide(text: &str) -> Cow<'_, str> {
    let mut now = Cow::Borrowed(text);
    for (pattern, rule) in &RULES {
        let next = match pattern.replace_all(&now, *rule) {
            Cow::Owned(next) if next != *now => Some(next),
            _ => None,
        };
        if let Some(next) = next {
            now = Cow::Owned(next);
        }
    }
    now
}

/// Whether a value in a text is hidden for the name in front of it.
fn is_hidden(name: &str, value: &str) -> bool {
    let secret = if looks_like_variable(name) { is_secret_variable(name) } else { is_secret_field(name) };
    secret && !says_nothing(value)
}

/// A number, a word of a language or the name of a variable is no secret: "time to first token: 0.5".
fn says_nothing(value: &str) -> bool {
    let inside = value.trim_matches(['"', '\'', '\\', '[', ']', ' ']);
    let number = inside.len() < 8
        && inside.starts_with(|first: char| first.is_ascii_digit())
        && inside
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'%' | b's' | b'm' | b'u'));
    let named = inside.strip_prefix('$').is_some_and(|name| {
        let name = name.trim_matches(['{', '}', '(', ')']);
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    });
    let word = ["", "None", "null", "nil", "true", "false", "True", "False", HIDDEN].contains(&inside);
    number || named || word
}

/// Hidden, in the quotes that it had.
fn quoted(value: &str) -> String {
    let quote: String =
        value.chars().take_while(|letter| matches!(letter, '"' | '\'' | '\\' | '[')).collect();
    let end: String = quote.chars().filter(|letter| *letter != '[').collect();
    let bracket = if quote.starts_with('[') { "]" } else { "" };
    format!("{quote}{HIDDEN}{end}{bracket}")
}

/// The first word, or all, hidden.
fn words(text: &str, all: bool) -> String {
    let kept = text.trim_end_matches([' ', '\t', ',']);
    let behind = text.get(kept.len()..).unwrap_or_default();
    let first_ends = kept.find([' ', '\t']).unwrap_or(kept.len());
    let quoted = kept.starts_with(['"', '\'', '\\']);
    let rest = if all || quoted { "" } else { kept.get(first_ends..).unwrap_or_default() };
    format!("{HIDDEN}{rest}{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Zq7-opaque.Value_9";

    #[test]
    fn every_pattern_compiles() {
        for (pattern, _) in &RULES {
            assert!(!pattern.as_str().is_empty());
        }
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_in_a_text() {
        for text in [
            "exec vllm serve /m --api-key SECRET --port 8000",
            "vllm serve --api-key=SECRET",
            "vllm serve --api-key 'SECRET'",
            "vllm serve --api-key first-one SECRET --port 1",
            "sh -c \"export HF_TOKEN=SECRET; vllm serve\"",
            "HF_TOKEN='SECRET' python x.py",
            "export AWS_SECRET_ACCESS_KEY=\"SECRET\"",
            "curl -H \"Authorization: Bearer SECRET\" http://x",
            "curl -H 'X-Api-Key: SECRET' http://x",
            "Authorization: Basic SECRET==",
            "authorization: Digest username=\"u\", response=\"SECRET\"".split(", ").next().unwrap(),
            "{'Authorization': 'Bearer SECRET'}",
            "headers={\"authorization\":\"Token SECRET\"}",
            "{\\\"authorization\\\":\\\"Bearer SECRET\\\"}",
            "Cookie: session=SECRET; other=1",
            "sent bearer SECRET to it",
            "pulling https://user:SECRET@registry.example.com/x",
            "pulling https://user:p@SECRET@registry.example.com/x",
            "redis://:SECRET@redis:6379/0",
            "https://SECRET@github.com/a/b",
            "GET /v1/models?api_key=SECRET&x=1",
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=SECRET&X-Amz-Signature=SECRET",
            "args: Namespace(api_key=['SECRET', 'SECRET'], model='m')",
            "non-default args: {'api_key': ['SECRET'], 'model': 'm'}",
            "{\"env\":[{\"name\":\"HF_TOKEN\",\"value\":\"SECRET\"}]}",
            "{\\\"env\\\":[{\\\"name\\\":\\\"HF_TOKEN\\\",\\\"value\\\":\\\"SECRET\\\"}]}",
            "env:\n- name: HF_TOKEN\n  value: SECRET\n",
            "env:\\n- name: HF_TOKEN\\n  value: SECRET\\n",
            "password: SECRET",
            "{\"auths\":{\"r\":{\"auth_token\":\"SECRET\"}}}",
            "[\"--api-key\", \"SECRET\"]",
            "['--api-key', 'SECRET']",
            "--redis-password SECRET --block",
            "ray start --head --redis-password='SECRET'",
            "client_secret => SECRET",
            "-----BEGIN RSA PRIVATE KEY-----\nSECRET\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nSECRET",
        ] {
            let text = text.replace("SECRET", SECRET);
            let hidden = hide(&text);
            assert!(!hidden.contains(SECRET) && hidden.contains(HIDDEN), "{text}\n{hidden}");
        }
    }

    #[test]
    fn tokens_are_known_by_their_form() {
        for token in [
            "hf_abcdefghijklmnopqrstuvwxyz",
            "sk-proj-abcdefghijklmnopqrst",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            "glpat-abcdefghijklmnopqrst",
            "xoxb-123456789012-abcdef",
            "nvapi-abcdefghijklmnopqrstuvwxyz",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk",
        ] {
            let text = format!("got {token} here");
            assert_eq!(hide(&text), format!("got {HIDDEN} here"));
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "INFO 11-30 13:45:20 [core.py:12] Avg prompt throughput: 5.0 tokens/s, Running: 3 reqs",
            "time to first token: 0.52s",
            "max_num_batched_tokens=8192, eos_token='</s>', tokenizer=\"/models/llama\"",
            "image registry.example.com/vllm@sha256:0123456789abcdef0123456789abcdef: not found",
            "HF_TOKEN=$HF_TOKEN vllm serve --api-key $(VLLM_API_KEY)",
            "RAYFLEET_LAUNCH {\"name\": \"llama-bcdfgh-0.zxwvtr.2\", \"ms\": 1796046540177}",
            "Failed to pull image \"ray:1\": rpc error: code = NotFound desc = x",
            "key: nvidia.com/gpu, operator: Exists",
            "see https://docs.vllm.ai/en/latest/ and mail me@example.com",
            "vllm serve /m --max-model-len 8192 --port 8000",
        ] {
            assert_eq!(
                hide(text),
                text.replace("--api-key $(VLLM_API_KEY)", &format!("--api-key {HIDDEN}")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_hidden_is_hidden_once() {
        for text in ["--api-key abcdefghij --port 1", "HF_TOKEN=abcdefgh", "{\"token\": \"abcdefgh\"}"] {
            let once = hide(text).into_owned();
            assert_eq!(hide(&once), once);
        }
    }
}
