//! The Ray token of one group, read from its Secret when it is needed and again when Ray refuses it. It is kept in memory only
//! and never logged.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Resource};
use ray_bridge::Token;
use serde::Deserialize;

use crate::kubernetes::Key;

/// Key of the token in the Secret that KubeRay makes.
const FIELD: &str = "auth_token";
/// What is read of a Secret.
#[derive(Deserialize)]
struct Stored {
    data: Option<Data>,
}

#[derive(Default, Deserialize)]
struct Data {
    /// [`FIELD`].
    auth_token: Option<ByteString>,
}

/// Longest time for reading a Secret.
const CALL: Duration = Duration::from_secs(5);

/// Reads the token of a group. It lives as long as the group's agent: the next Ray cluster of that name has another token in a
/// Secret of the same name.
pub(crate) struct GroupToken {
    client: Client,
    known: Option<(Key, Token)>,
}

impl GroupToken {
    /// Nothing read yet.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, known: None }
    }

    /// The token in a Secret, or why there is none.
    pub(crate) async fn get(&mut self, secret: &Key) -> Result<Token, String> {
        if let Some((_, token)) = self.known.as_ref().filter(|(of, _)| of == secret) {
            return Ok(token.clone());
        }
        let token =
            self.read(secret).await.map_err(|cause| format!("Secret {secret}, key {FIELD}: {cause}"))?;
        self.known = Some((secret.clone(), token.clone()));
        Ok(token)
    }

    /// Ray refused the token: read it again next time.
    pub(crate) fn forget(&mut self) {
        self.known = None;
    }

    async fn read(&self, key: &Key) -> Result<Token, String> {
        let request = Request::new(Secret::url_path(&(), Some(&key.namespace)));
        let request = request.get(&key.name, &GetParams::default()).map_err(|error| error.to_string())?;
        // As text: kube's own call logs all of a Secret that it cannot read, and a tenant may make it so.
        let text = match tokio::time::timeout(CALL, self.client.request_text(request)).await {
            Ok(Ok(text)) => text,
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
                return Err("KubeRay has not made it yet".to_owned());
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the API server does not answer".to_owned()),
        };
        let stored: Stored = serde_json::from_str(&text).map_err(|_| "it cannot be read")?;
        let bytes = stored.data.unwrap_or_default().auth_token.ok_or("the key is missing")?;
        let text = std::str::from_utf8(&bytes.0).map_err(|_| "not text".to_owned())?;
        Token::new(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use rayfleet_runtime::testing::{Answer, Fake, refusal};

    fn secret(data: &Value) -> Answer {
        Answer::Reply(200, json!({"metadata": {"name": "g", "namespace": "n"}, "data": data}))
    }

    fn key() -> Key {
        Key::new("n", "g")
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_read_once_until_ray_refuses_it() {
        let server = Fake::new(|_| secret(&json!({"auth_token": "c2VjcmV0"})));
        let mut token = GroupToken::new(server.client());
        let first = token.get(&key()).await.unwrap();
        assert_eq!(first, Token::new("secret").unwrap());
        token.get(&key()).await.unwrap();
        assert_eq!(server.calls().len(), 1);
        token.forget();
        token.get(&key()).await.unwrap();
        assert_eq!(server.calls().len(), 2);
        token.get(&Key::new("n", "h")).await.unwrap();
        assert_eq!(server.calls().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_secret_is_reported_without_its_content() {
        for (answer, words) in [
            (json!({}), "the key is missing"),
            (json!({"auth_token": "/w=="}), "not text"),
            (json!({"auth_token": "YQpi"}), ""),
        ] {
            let mut token = GroupToken::new(Fake::new(move |_| secret(&answer)).client());
            let cause = token.get(&key()).await.unwrap_err();
            assert!(cause.starts_with("Secret n/g, key auth_token: ") && cause.ends_with(words), "{cause}");
            assert!(!cause.contains("a\nb"), "{cause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_a_tenant_has_poisoned_gives_its_token() {
        let server = Fake::new(|_| {
            let fields = json!([{"manager": "other", "time": "9999-12-31T23:59:59Z"}]);
            let metadata = json!({"name": "g", "namespace": "n", "managedFields": fields});
            Answer::Reply(200, json!({"metadata": metadata, "data": {"auth_token": "c2VjcmV0", "other": 1}}))
        });
        let token = GroupToken::new(server.client()).get(&key()).await.unwrap();
        assert_eq!(token, Token::new("secret").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_cannot_be_read_is_asked_for_again() {
        for (server, words) in [
            (Fake::new(|_| refusal(404, "NotFound", "none")), "KubeRay has not made it yet"),
            (Fake::new(|_| refusal(403, "Forbidden", "no rights")), "no rights"),
            (Fake::new(|_| Answer::Silence), "does not answer"),
        ] {
            let mut token = GroupToken::new(server.client());
            for calls in 1..=2 {
                let cause = token.get(&key()).await.unwrap_err();
                assert!(cause.contains(words), "{cause}");
                assert_eq!(server.calls().len(), calls);
            }
        }
    }
}
