//! Which names stand for secrets: of fields, flags and variables. Pure.

/// Ends of names of fields and flags, in words.
const ENDS: [&str; 21] = [
    "passwords",
    "passwds",
    "passphrase",
    "passphrases",
    "pwd",
    "credential",
    "credentials",
    "auth",
    "apikeys",
    "authorization",
    "cookie",
    "cookies",
    "signature",
    "sig",
    "privatekey",
    "secretkey",
    "accesskey",
    "signingkey",
    "authkey",
    "dockercfg",
    "dockerconfigjson",
];
/// Ends of last words, which are often written as one: `dbpassword`, `authtoken`.
const ENDS_OF_WORDS: [&str; 5] = ["token", "password", "passwd", "secret", "apikey"];
/// Names whose value may be a number and a secret.
const OF_PEOPLE: [&str; 9] =
    ["password", "passwords", "passwd", "passwds", "passphrase", "passphrases", "pwd", "pass", "secret"];
/// Passes that are no passwords.
const OF_WORK: [&str; 20] = [
    "forward", "backward", "first", "second", "third", "last", "single", "multi", "two", "prefill", "decode",
    "warmup", "compile", "compiler", "fusion", "grad", "graph", "dummy", "by", "test",
];
/// What makes several tokens secrets, by the word before them: others are counted, or are parts of texts.
const TOKENS: [&str; 12] =
    ["", "api", "auth", "access", "refresh", "bearer", "hf", "session", "secret", "user", "valid", "allowed"];
/// What makes a key a secret, by the word before it: others are keys of maps.
const KEYS: [&str; 18] = [
    "api",
    "access",
    "private",
    "secret",
    "signing",
    "encryption",
    "auth",
    "account",
    "ssh",
    "license",
    "session",
    "shared",
    "master",
    "client",
    "service",
    "hmac",
    "subscription",
    "tls",
];
/// Tokens of a tokenizer.
const OF_TEXT: [&str; 10] = ["eos", "bos", "pad", "unk", "cls", "sep", "mask", "image", "stop", "special"];
/// Parts of names of variables.
const PARTS: [&str; 6] = ["TOKEN", "PASSWORD", "PASSWD", "SECRET", "CREDENTIAL", "APIKEY"];
/// Words in names of variables.
const WORDS: [&str; 9] = ["key", "keys", "pass", "pwd", "auth", "cookie", "dsn", "pat", "webhook"];
/// Ends of names of variables that say how something is done: `RAY_AUTH_MODE`.
const SETTINGS: [&str; 2] = ["mode", "enabled"];

/// Whether the value of a field or flag is hidden: `api-key`, `redis-password`, `authToken`.
pub(super) fn is_secret_field(name: &str) -> bool {
    let words = words(name);
    let mut ends = words.iter().rev().map(String::as_str);
    let (last, before) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
    match last {
        "token" => !OF_TEXT.contains(&before),
        "secrets" => before != "pull",
        "tokens" => TOKENS.contains(&before),
        "pass" => !before.is_empty() && !OF_WORK.contains(&before),
        "key" | "keys" => KEYS.contains(&before),
        // client-key-data of a kubeconfig.
        "data" => before == "key" && ends.next().is_some_and(|word| KEYS.contains(&word)),
        // AWS_ACCESS_KEY_ID and its like.
        "id" => before == "key" && ends.next().is_some_and(|word| KEYS.contains(&word)),
        last => {
            let of_text = |end: &str| OF_TEXT.iter().any(|text| last.strip_suffix(end) == Some(text));
            ENDS.contains(&last) || ENDS_OF_WORDS.into_iter().any(|end| last.ends_with(end) && !of_text(end))
        }
    }
}

/// Whether a number may be the secret: others of such names are counts and times.
pub(super) fn takes_numbers(name: &str) -> bool {
    words(name).last().is_some_and(|last| {
        OF_PEOPLE.contains(&last.as_str()) || last.ends_with("password") || last.ends_with("passwd")
    })
}

/// Whether numbers of this name are counts, however long they are: `tokens`.
pub(super) fn counts(name: &str) -> bool {
    words(name).last().is_some_and(|last| last == "tokens")
}

/// Whether the value of a variable of an environment is hidden: `HF_TOKEN`, `*_KEY`, `AWS_*`.
pub(super) fn is_secret_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace("TOKENIZ", "");
    let words = words(name);
    if words.last().is_some_and(|last| SETTINGS.contains(&last.as_str())) {
        return false;
    }
    upper.starts_with("AWS_")
        || PARTS.iter().any(|part| upper.contains(part))
        || words.iter().any(|word| WORDS.contains(&word.as_str()))
        || is_secret_field(name)
}

/// Whether a name in a text is one of a variable, which are written in capitals.
pub(super) fn looks_like_variable(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase()) && !name.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Whether a value that is hidden is worth looking for elsewhere: those of other variables may be words that occur anywhere.
pub(super) fn is_worth_learning(name: &str) -> bool {
    let words = words(name);
    !words.iter().any(|word| ["region", "profile", "endpoint", "url", "arn"].contains(&word.as_str()))
}

/// In lower case; `authToken`, `auth-token` and `AUTH_TOKEN` are the same two.
fn words(name: &str) -> Vec<String> {
    let (mut all, mut lower) = (vec![String::new()], false);
    for letter in name.chars() {
        if !letter.is_alphanumeric() {
            all.push(String::new());
        } else if letter.is_uppercase() && lower {
            all.push(letter.to_lowercase().collect());
        } else if let Some(last) = all.last_mut() {
            last.extend(letter.to_lowercase());
        }
        lower = letter.is_lowercase() || letter.is_numeric();
    }
    all.retain(|word| !word.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for name in [
            "api-key",
            "--api-key",
            "apiKey",
            "api_keys",
            "redis-password",
            "authToken",
            "token",
            "hf_token",
            "client_secret",
            "X-Amz-Signature",
            "Authorization",
            "aws_access_key_id",
            "APIKEY",
            "PrivateKey",
            "secrets",
            "tokens",
            "passwords",
            "db_pass",
            "dbpassword",
            "auth",
            "_auth",
            "client-key-data",
            "tls.key",
            ".dockerconfigjson",
        ] {
            assert!(is_secret_field(name), "{name}");
        }
        for name in [
            "key",
            "topologyKey",
            "secretName",
            "secretKeyRef",
            "tokenizer",
            "eos_token",
            "max_tokens",
            "name",
            "automountServiceAccountTokenPolicy",
            "id",
            "",
            "imagePullSecrets",
            "kv_cache_key_id",
            "prompt_tokens",
            "num_batched_tokens",
            "special_tokens",
            "eostoken",
            "pass",
            "forward_pass",
            "client-certificate-data",
            "certificate-authority-data",
        ] {
            assert!(!is_secret_field(name), "{name}");
        }
        for name in [
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "OPENAI_API_KEY",
            "MYKEY_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "DB_PASSWORD",
            "mysecretvalue",
            "PGPASSWORD",
            "VLLM_API_KEY",
            "S3_KEY_ID",
            "SENTRY_DSN",
            "SLACK_WEBHOOK",
        ] {
            assert!(is_secret_variable(name), "{name}");
        }
        for name in
            ["TOKENIZERS_PARALLELISM", "NCCL_IB_HCA", "RAY_AUTH_MODE", "PATH", "VLLM_PORT", "NCCL_IB_PKEY"]
        {
            assert!(!is_secret_variable(name), "{name}");
        }
        assert!(takes_numbers("DB_PASSWORD") && takes_numbers("db_pass") && !takes_numbers("token"));
    }
}
