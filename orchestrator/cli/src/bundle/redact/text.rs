//! What is hidden in a text, whoever wrote it: by the names in front of values, and by the form of known tokens. A line of a log
//! costs some microseconds. Pure.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::HIDDEN;
use super::names::{is_secret_field, is_secret_variable, looks_like_variable};
use super::value::{self, says_nothing};

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

/// Colours and other control sequences of terminals (ECMA-48: CSI and OSC), the colours also as JSON and Python write them.
static COLOURS: LazyLock<Regex> = pattern!(
    r"\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|(?:\x1b|\u{9b})\[?[0-?]*[ -/]*[@-~]|\\+(?:u001[bB]|x1[bB]|033)\[[0-9;]*m"
);

/// What stands before a secret; how far the value goes is read by hand from there, so that no text costs more than its length. The end
/// of a line may be written as `\n`: then its letter is no part of the name.
static BEFORE: [(LazyLock<Regex>, Judge); 5] = [
    // Headers: all of the value, whatever its scheme.
    (
        pattern!(
            r#"(?i)(?:\b|\\[nrt])((?:proxy-|x-ray-)?authorization|x-api-key|api-key|(?:set-)?cookie)(?:\\*["'])?\s*:=?\s*(?:b?\\*["'])?"#
        ),
        |_, rest| rest.find(['"', '\'', '\\', '\r', '\n']).or(Some(rest.len())).filter(|end| *end > 0),
    ),
    (pattern!(r"(?i)(?:\b|\\[nrt])(bearer|basic)(?:\s+|%20)"), |_, rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-._~+/=:".contains(letter));
        end.or(Some(rest.len())).filter(|end| *end >= 8)
    }),
    // A variable as Kubernetes writes it, in a text: {"name": "HF_TOKEN", "value": "…"}, as YAML, and as Go prints it.
    (
        pattern!(
            r#"\b((?i:name))\\*["']?\s*[:=]\s*\\*["']?([A-Za-z_][A-Za-z0-9_.-]*)(?:\\*["'])?(?:\\n|[\s,])*\\*["']?(?i:value)\\*["']?\s*[:=]\s*"#
        ),
        |found, rest| {
            is_secret_variable(&found[2]).then(|| value::block(rest).unwrap_or_else(|| value::end(rest)))
        },
    ),
    // Assignments: NAME=value, 'name': 'value', name = value, ['NAME'] = value, "name":{"value":"value"}.
    (
        pattern!(
            r#"(?:\\[nrt])?([A-Za-z_][A-Za-z0-9_.-]*)(?:\\*["'])?\]?\s*(?::=|:|=>|==?)\s*(?:(?:\{|\\n)?\s*\\*["']?(?i:value)\\*["']?\s*[:=]\s*)?"#
        ),
        |found, rest| {
            // Before the value is looked for: a long line has many names.
            let name = secret_name(&found[0], &found[1])?;
            if let Some(block) = value::block(rest) {
                return Some(block);
            }
            Some(value::end(rest)).filter(|end| !says_nothing(&name, rest.get(..*end).unwrap_or_default()))
        },
    ),
    // Flags: --api-key value, and --api-key several of them; in lists, in the next line.
    (
        pattern!(
            r#"(--?[A-Za-z][A-Za-z0-9_-]*)(?:\\*["'])?(?:,\s*|\s*(?:\n|\\+n)\s*-\s+|(?:[ \t]|\\+\r?\n(?:\d{4}-\d\d-\d\dT\S+ )?|\\+n)+)"#
        ),
        behind_flag,
    ),
];

/// Secrets with a form of their own; the first group stays.
static FORMS: [LazyLock<Regex>; 5] = [
    // Up to the last @ in front of the host: a password may hold one.
    pattern!(r#"\b([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>?#]*@"#),
    // Webhooks of Slack, Discord, Teams, Telegram, Feishu and WeCom: whoever has the address may write.
    pattern!(
        r#"(https?://(?:hooks\.slack(?:-gov)?\.com/[a-z]+/|(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks/|[A-Za-z0-9.-]+\.webhook\.office\.com/|outlook\.office(?:365)?\.com/webhook/|api\.telegram\.org/bot|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/|qyapi\.weixin\.qq\.com/cgi-bin/webhook/))[^\s"'<>\\]+"#
    ),
    // Hugging Face, OpenAI, AWS, GitHub, GitLab, Slack, Google, NVIDIA, npm, age.
    pattern!(
        r"(\b|\\[nrt]|%[0-9A-Fa-f]{2})(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{20,}|nvapi-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|AGE-SECRET-KEY-[A-Z0-9]{20,})"
    ),
    // A JWT.
    pattern!(r"(\b|\\[nrt]|%[0-9A-Fa-f]{2})eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    pattern!(
        r"(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----).*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)"
    ),
];

/// The text without colours.
pub(super) fn without_colours(text: &str) -> Cow<'_, str> {
    COLOURS.replace_all(text, "")
}

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
        into.push_str(&value::hidden(rest.get(..end).unwrap_or_default()));
        copied = whole.end() + end;
        at = copied;
    }
    hidden.map(|hidden| hidden + text.get(copied..).unwrap_or_default())
}

/// The value, or the values, of a flag.
fn behind_flag(found: &Captures<'_>, rest: &str) -> Option<usize> {
    let name = &found[1];
    let is_flag = |word: &str| word.trim_start_matches(['"', '\'', '\\']).starts_with('-');
    if ["-u", "-U", "--user", "--proxy-user"].contains(&name) {
        return Some(value::end(rest)).filter(|end| value::is_login(rest.get(..*end).unwrap_or_default()));
    }
    if !is_secret_field(name) || is_flag(rest) {
        return None;
    }
    let many = name.to_ascii_lowercase().replace('_', "-").ends_with("api-key");
    let mut end = value::end(rest);
    if says_nothing(name, rest.get(..end).unwrap_or_default()) {
        return None;
    }
    loop {
        let behind = rest.get(end..).unwrap_or_default();
        let word = behind.trim_start_matches([' ', '\t', ',']);
        let next = value::end(word);
        if !many || word.len() == behind.len() || next == 0 || is_flag(word) {
            break;
        }
        end += behind.len() - word.len() + next;
    }
    Some(end)
}

/// The name in a text, if it stands for a secret; `whole` begins with it, or with the written end of a line, which may be a part of it.
fn secret_name(whole: &str, name: &str) -> Option<String> {
    let with_letter = whole.strip_prefix('\\').and_then(|rest| rest.get(..=name.len()));
    [Some(name), with_letter].into_iter().flatten().find(|name| is_secret_name(name)).map(str::to_owned)
}

/// Whether a name in a text stands for a secret.
fn is_secret_name(name: &str) -> bool {
    if looks_like_variable(name) { is_secret_variable(name) } else { is_secret_field(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Zq7-opaque.Value_9";

    #[test]
    fn every_pattern_compiles() {
        for pattern in BEFORE.iter().map(|(pattern, _)| pattern).chain(&FORMS).chain([&COLOURS]) {
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
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nSECRET\n-----END PGP PRIVATE KEY BLOCK-----",
            "\x1b[36mpassword\x1b[0m=\x1b[35mSECRET\x1b[0m",
            r"{'event': '\u001b[36mpassword\u001b[0m=\u001b[35mSECRET\u001b[0m'}",
            "api_key=SecretStr('SECRET')",
            "token: Some(\"SECRET\")",
            "token=b'SECRET'",
            "token=('SECRET',)",
            "{u'password': u'SECRET'}",
            "token=SecretStr('**********'), password=Wrapped(inner=['a)', 'SECRET'])",
            "cmd: [\"vllm\",\"--api-key\",\"SECRET\"]",
            "cmd: [\"vllm\",\"--api-key\",\"first-one\",\"SECRET\",\"--port\"]",
            r#"{"args":"[\"--api-key\",\"SECRET\"]"}"#,
            r#"{"msg":"got\npassword=SECRET"}"#,
            r#"{"msg":"got\nauthorization: Digest SECRET"}"#,
            r#"{"msg":"got\tHF_TOKEN=SECRET"}"#,
            r"C:\token=SECRET",
            "os.environ['HF_TOKEN'] = 'SECRET'",
            "os.environ[\"HF_TOKEN\"]=\"SECRET\"",
            "secrets: SECRET",
            "tokens=SECRET",
            "tokens: ['SECRET']",
            "passwords: SECRET",
            "db_pass=SECRET",
            "password: |\n  SECRET\nother: 1",
            "password: >-\nSECRET",
            "2030-01-01T00:00:01Z password: |\n2030-01-01T00:00:01Z   a\n2030-01-01T00:00:01Z   SECRET\n",
            r#"{"yaml":"password: |\n  a\n  SECRET\nother: 1"}"#,
            "vllm serve --api-key \\\n  SECRET \\\n  --port 1",
            "2030-01-01T00:00:01Z vllm serve --api-key \\\n2030-01-01T00:00:01Z   SECRET",
            "args:\n- --api-key\n- SECRET\n",
            "token := \"SECRET\"",
            "authorization := \"SECRET\"",
            "&EnvVar{Name:HF_TOKEN,Value:SECRET,ValueFrom:nil,}",
            "&EnvVar{Name:HF_TOKEN,Value:ab,SECRET,ValueFrom:nil,}",
            "PASSWORD=ab,SECRET",
            "PASSWORD=ab,SECRET,USER=x",
            "{\"auths\":{\"r\":{\"auth\":\"SECRET\"}}}",
            "//registry.example.com/:_auth=SECRET",
            "    client-key-data: SECRET",
            "curl -u user:SECRET https://h/",
            "curl --user 'user:SECRET' https://h/",
            "https://hooks.slack.com/services/T0/B0/SECRET",
            "POST https://discord.com/api/webhooks/1/SECRET failed",
            "https://x.webhook.office.com/webhookb2/SECRET/IncomingWebhook/1",
            "https://api.telegram.org/bot1:SECRET/sendMessage",
            "\"gcsFaultToleranceOptions\":{\"redisPassword\":{\"value\":\"SECRET\"}}",
            "redisPassword:\n  value: SECRET",
        ] {
            let text = text.replace("SECRET", SECRET);
            let hidden = hide(&without_colours(&text)).into_owned();
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
            let text = format!("{{\"msg\": \"got\\n{token}\", \"url\": \"a%3D{token}\"}}");
            assert!(!hide(&text).contains(token), "{text}");
            let text = format!("\x1b[33m{token}\x1b[0m");
            assert_eq!(hide(&without_colours(&text)), HIDDEN);
        }
    }

    #[test]
    fn a_number_is_hidden_where_it_is_a_password() {
        assert_eq!(hide("PASSWORD=123456"), "PASSWORD=<redacted>");
        assert_eq!(hide("'db_pass': 123456"), "'db_pass': <redacted>");
        for text in ["max_tokens=16", "tokens: 123456789", "{\"tokens\": [1, 2]}", "tokens=5.0/s", "token: 7"]
        {
            assert_eq!(hide(text), text);
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
            "vllm serve /m --tokenizer /models/t --max-num-batched-tokens 8192",
            "\"--tokenizer\",\"/models/t\",\"--max-tokens\",\"16\"",
            "SamplingParams(max_tokens=16, prompt_tokens: 12, stop_token_ids=[1, 2])",
            "forward pass: 12ms, fusion_pass=x",
            "docker run -u 1000:1000 registry.example.com:5000/ray:1, curl -u https://h",
            "imagePullSecrets: [{name: registry}], secret \"s\" not found",
            "10.0.0.1:8265, [fd00::1]:6379, us-east-1a, topology.kubernetes.io/zone=us-east-1a",
            "RAY_AUTH_MODE=token",
            "Error: unexpected token: true",
            "\"redisPassword\":{\"valueFrom\":{\"secretKeyRef\":{\"name\":\"redis\"}}}",
        ] {
            assert_eq!(hide(text), text);
        }
    }

    /// A rule that went through the rest of a text for each name would take hours.
    #[test]
    fn a_long_text_of_nothing_but_names_is_read_once() {
        for part in [
            "a=[",
            "token=[",
            "token=f(",
            "token=a,b",
            "token='",
            "--api-key ",
            "--api-key,\"-",
            "-u a ",
            "x://",
            "password: |\n",
            "password: |\\n",
            "name: T value: ",
            "a: \\\"",
            "tokens=1,",
            "\x1b]",
        ] {
            let text = part.repeat(20_000);
            assert!(hide(&without_colours(&text)).len() <= 8 * text.len(), "{part}");
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
