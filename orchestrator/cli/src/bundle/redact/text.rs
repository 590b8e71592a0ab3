//! What is hidden in a text, whoever wrote it: by the names in front of values, and by the form of known tokens. A line of a log
//! costs some microseconds. Pure.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::HIDDEN;
use super::names::{is_secret_field, is_secret_variable, looks_like_variable};

/// Looks at what a pattern found; what is to be hidden begins at the end of the match, and where it ends. `None`: nothing is.
type Judge = fn(&Captures<'_>, rest: &str) -> Option<usize>;

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

/// What stands before a secret; a value is read by hand from there, so that no text costs more than its length.
static BEFORE: [(LazyLock<Regex>, Judge); 5] = [
    // Headers: all of the value, whatever its scheme.
    (
        pattern!(
            r#"(?i)\b((?:proxy-|x-ray-)?authorization|x-api-key|api-key|(?:set-)?cookie)(?:\\*["'])?\s*:\s*(?:\\*["'])?"#
        ),
        |_, rest| rest.find(['"', '\'', '\\', '\r', '\n']).or(Some(rest.len())).filter(|end| *end > 0),
    ),
    (pattern!(r"(?i)\b(bearer|basic)(?:\s+|%20)"), |_, rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-._~+/=:".contains(letter));
        end.or(Some(rest.len())).filter(|end| *end >= 8)
    }),
    // A variable as Kubernetes writes it, in a text: {"name": "HF_TOKEN", "value": "…"}, and as YAML.
    (
        pattern!(
            r#"\b(name)\\*["']?\s*[:=]\s*\\*["']?([A-Za-z_][A-Za-z0-9_.-]*)(?:\\*["'])?(?:\\n|[\s,])*\\*["']?value\\*["']?\s*[:=]\s*"#
        ),
        |found, rest| is_secret_variable(&found[2]).then(|| value(rest)),
    ),
    // Assignments: NAME=value, 'name': 'value', name = value.
    (pattern!(r#"([A-Za-z_][A-Za-z0-9_.-]*)(?:\\*["'])?\s*(?::|=>?)\s*"#), |found, rest| {
        // Before the value is looked for: a long line has many names.
        let end = is_secret_name(&found[1]).then(|| value(rest))?;
        Some(end).filter(|end| !says_nothing(rest.get(..*end).unwrap_or_default()))
    }),
    // Flags: --api-key value, and --api-key several of them.
    (pattern!(r#"(--?[A-Za-z][A-Za-z0-9_-]*)(?:\\*["'])?,?[ \t]+"#), |found, rest| {
        if !is_secret_field(&found[1]) || rest.starts_with('-') {
            return None;
        }
        let many = found[1].to_ascii_lowercase().replace('_', "-").ends_with("api-key");
        let mut end = value(rest);
        if says_nothing(rest.get(..end).unwrap_or_default()) {
            return None;
        }
        loop {
            let behind = rest.get(end..).unwrap_or_default();
            let word = behind.trim_start_matches([' ', '\t', ',']);
            let next = value(word);
            if !many || word.len() == behind.len() || next == 0 || word.starts_with('-') {
                break;
            }
            end += behind.len() - word.len() + next;
        }
        Some(end)
    }),
];

/// Secrets with a form of their own.
static FORMS: [LazyLock<Regex>; 4] = [
    // Up to the last @ in front of the host: a password may hold one.
    pattern!(r#"\b([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>?#]*@"#),
    // Hugging Face, OpenAI, AWS, GitHub, GitLab, Slack, Google, NVIDIA, npm, age.
    pattern!(
        r"()\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{20,}|nvapi-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|AGE-SECRET-KEY-[A-Z0-9]{20,})"
    ),
    // A JWT.
    pattern!(r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    pattern!(r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"),
];

/// The text with everything hidden that the rules know.
pub(super) fn hide(text: &str) -> Cow<'_, str> {
    let mut now = Cow::Borrowed(text);
    for (pattern, judge) in &BEFORE {
        if let Some(next) = hide_behind(pattern, *judge, &now) {
            now = Cow::Owned(next);
        }
    }
    for pattern in &FORMS {
        let keeps_host = |found: &Captures<'_>| {
            let end = if found[0].ends_with('@') { "@" } else { "" };
            format!("{}{HIDDEN}{end}", &found[1])
        };
        if let Cow::Owned(next) = pattern.replace_all(&now, keeps_host) {
            now = Cow::Owned(next);
        }
    }
    now
}

/// `None` if nothing is hidden.
fn hide_behind(pattern: &Regex, judge: Judge, text: &str) -> Option<String> {
    let (mut hidden, mut copied, mut at) = (None::<String>, 0, 0);
    while let Some(found) = pattern.captures_at(text, at) {
        let (Some(whole), Some(name)) = (found.get(0), found.get(1)) else { break };
        let rest = text.get(whole.end()..).unwrap_or_default();
        let Some(end) = judge(&found, rest).filter(|end| *end > 0) else {
            // What is behind may be the name of something else: "Error: token=…".
            at = name.end();
            continue;
        };
        let into = hidden.get_or_insert_with(String::new);
        into.push_str(text.get(copied..whole.end()).unwrap_or_default());
        into.push_str(&quoted(rest.get(..end).unwrap_or_default()));
        copied = whole.end() + end;
        at = copied;
    }
    hidden.map(|hidden| hidden + text.get(copied..).unwrap_or_default())
}

/// Where a value at the beginning of a text ends: in brackets, in quotes that may be escaped, or a word; at the end of its line at the
/// latest.
fn value(text: &str) -> usize {
    let line = text.find('\n').unwrap_or(text.len());
    let line = text.get(..line).unwrap_or_default();
    let slashes = line.bytes().take_while(|byte| *byte == b'\\').count();
    let open = line.get(slashes..).and_then(|rest| rest.chars().next());
    match open {
        Some('[') if slashes == 0 => line.find(']').map_or(line.len(), |end| end + 1),
        Some(quote @ ('"' | '\'')) => {
            let from = slashes + 1;
            let closes = line.get(..from).unwrap_or_default();
            let mut escaped = false;
            let inside = line.get(from..).unwrap_or_default();
            let end = if slashes > 0 {
                inside.find(closes)
            } else {
                inside.char_indices().find_map(|(at, letter)| {
                    let ends = letter == quote && !escaped;
                    escaped = letter == '\\' && !escaped;
                    ends.then_some(at)
                })
            };
            end.map_or(line.len(), |end| from + end + closes.len())
        }
        _ => line
            .find(|letter: char| letter.is_whitespace() || ",;&|<>)}]\"'\\".contains(letter))
            .unwrap_or(line.len()),
    }
}

/// Whether a name in a text stands for a secret.
fn is_secret_name(name: &str) -> bool {
    if looks_like_variable(name) { is_secret_variable(name) } else { is_secret_field(name) }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Zq7-opaque.Value_9";

    #[test]
    fn every_pattern_compiles() {
        for pattern in BEFORE.iter().map(|(pattern, _)| pattern).chain(&FORMS) {
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
            "export AWS_ACCESS_KEY=\"SECRET\"",
            "Error: token=SECRET was refused",
            "a=b: c => password='SECRET'",
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
            assert_eq!(hide(text), text);
        }
    }

    /// A rule that went through the rest of a text for each name would take hours.
    #[test]
    fn a_long_text_of_nothing_but_names_is_read_once() {
        for part in ["a=[", "token='", "--api-key ", "x://", "name: T value: ", "a: \\\""] {
            let text = part.repeat(20_000);
            assert!(hide(&text).len() <= 8 * text.len(), "{part}");
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
