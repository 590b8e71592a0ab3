//! The token: read from a file that changes, and the errors if a server refuses it.

use std::path::PathBuf;

use ray_bridge::{CallErrorKind, Target, Token};

use crate::common::{Fake, bridge, id, recorded, target};
use crate::replies::{fault, request, start};

/// A file that lives as long as the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("ray-bridge-{}-{name}", std::process::id())));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn with_file(fake: &Fake, file: &File) -> ray_bridge::dashboard::Dashboard {
    bridge().dashboard(&Target { token: Some(Token::from_file(&file.0)), ..target(&fake.url, None) })
}

fn sent(fake: &Fake) -> Vec<String> {
    fake.asked().into_iter().map(|asked| asked.authorization.unwrap_or_default()).collect()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn a_missing_token_is_distinguished_from_a_wrong_one() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/version", [recorded("auth_none_version"), recorded("auth_wrong_jobs")]);
    let unseen = dashboard.version().await.unwrap_err();
    assert_eq!(unseen.kind, CallErrorKind::Unauthorized);
    assert!(
        unseen.to_string().ends_with(
            "401 unauthorized: the token was sent but did not arrive; does a proxy in front want its own?"
        ),
        "{unseen}"
    );
    let wrong = dashboard.version().await.unwrap_err();
    assert_eq!((wrong.kind.clone(), sent(&fake)[0].clone()), (CallErrorKind::Forbidden, bearer("s3cret")));
    assert!(
        wrong.to_string().ends_with("403 forbidden: the token does not belong to this cluster"),
        "{wrong}"
    );

    let without = bridge().dashboard(&Target { token: None, ..target(&fake.url, None) });
    fake.on("GET /api/version", [recorded("auth_none_version"), recorded("auth_wrong_jobs")]);
    let none = without.version().await.unwrap_err().to_string();
    assert!(none.ends_with("401 unauthorized: the server requires a token and none was sent"), "{none}");
    let refused = without.version().await.unwrap_err().to_string();
    assert!(
        refused.ends_with("although no token was sent: a proxy in front of the server refuses"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_changed_token_file_is_read_again() {
    let fake = Fake::start().await;
    let file = File::new("changes", "first\n");
    let dashboard = with_file(&fake, &file);
    fake.otherwise(recorded("version"));
    dashboard.version().await.unwrap();
    file.write("the-second\n");
    dashboard.version().await.unwrap();
    assert_eq!(sent(&fake), [bearer("first"), bearer("the-second")]);
}

#[tokio::test]
async fn after_a_refused_token_the_file_is_read_again_and_the_call_repeated_once() {
    let fake = Fake::start().await;
    let file = File::new("refused", "aaaa");
    let dashboard = with_file(&fake, &file);
    fake.on("POST /api/jobs/", [recorded("auth_wrong_jobs"), (200, b"{}".to_vec())]);
    fake.otherwise(recorded("version"));
    dashboard.version().await.unwrap();
    // Same length and possibly the same time, so that the change may be invisible.
    let kept = std::fs::metadata(&file.0).unwrap().modified().unwrap();
    file.write("bbbb");
    std::fs::File::options().write(true).open(&file.0).unwrap().set_modified(kept).unwrap();
    dashboard.submit(&request("j")).await.unwrap();
    assert_eq!(sent(&fake), [bearer("aaaa"), bearer("aaaa"), bearer("bbbb")]);
}

#[tokio::test]
async fn a_refused_token_that_has_not_changed_is_not_sent_again() {
    let fake = Fake::start().await;
    let file = File::new("same", "aaaa");
    fake.otherwise(recorded("auth_wrong_jobs"));
    let error = with_file(&fake, &file).job(&id("j")).await.unwrap_err();
    let wanted = format!("403 forbidden: the token in {} does not belong to this cluster", file.0.display());
    assert!(error.to_string().ends_with(&wanted), "{error}");
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn an_unusable_token_file_is_named_and_nothing_is_sent() {
    let fake = Fake::start().await;
    let file = File::new("bad", "two words");
    let said = with_file(&fake, &file).version().await.unwrap_err();
    assert!(
        said.to_string().contains(&format!("token: {}: the Ray token must be", file.0.display())),
        "{said}"
    );
    let gone = with_file(&fake, &File(PathBuf::from("/nowhere/token")));
    assert!(
        matches!(fault(gone.version().await), CallErrorKind::Token { what } if what.starts_with("/nowhere/token: "))
    );
    assert!(fake.asked().is_empty());
}
