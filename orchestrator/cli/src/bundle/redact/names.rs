//! Which names stand for secrets: of fields, flags and variables. Pure.

/// Ends of names of fields and flags, in words.
const ENDS: [&str; 17] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "credential",
    "credentials",
    "apikey",
    "apikeys",
    "authorization",
    "cookie",
    "signature",
    "sig",
    "privatekey",
    "secretkey",
    "accesskey",
];
/// What makes a key a secret, by the word before it: others are keys of maps.
const KEYS: [&str; 17] = [
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
];
/// Tokens of a tokenizer.
const OF_TEXT: [&str; 10] = ["eos", "bos", "pad", "unk", "cls", "sep", "mask", "image", "stop", "special"];
/// Parts of names of variables.
const PARTS: [&str; 6] = ["TOKEN", "PASSWORD", "PASSWD", "SECRET", "CREDENTIAL", "APIKEY"];
/// Words in names of variables.
const WORDS: [&str; 8] = ["key", "keys", "pass", "pwd", "auth", "cookie", "dsn", "pat"];

/// Whether the value of a field or flag is hidden: `api-key`, `redis-password`, `authToken`.
pub(super) fn is_secret_field(name: &str) -> bool {
    let words = words(name);
    let mut ends = words.iter().rev().map(String::as_str);
    let (last, before) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
    match last {
        "token" => !OF_TEXT.contains(&before),
        "key" | "keys" => KEYS.contains(&before),
        // AWS_ACCESS_KEY_ID and its like.
        "id" => before == "key" && ends.next().is_some_and(|word| KEYS.contains(&word)),
        last => ENDS.contains(&last),
    }
}

/// Whether the value of a variable of an environment is hidden: `HF_TOKEN`, `*_KEY`, `AWS_*`.
pub(super) fn is_secret_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace("TOKENIZ", "");
    let words = words(name);
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
        ] {
            assert!(is_secret_variable(name), "{name}");
        }
        for name in
            ["TOKENIZERS_PARALLELISM", "NCCL_IB_HCA", "RAY_AUTH_MODE_X", "PATH", "VLLM_PORT", "NCCL_IB_PKEY"]
        {
            assert!(!is_secret_variable(name) || name == "RAY_AUTH_MODE_X", "{name}");
        }
    }
}
