//! The shared secret of a Ray cluster: never printed, always a valid header, and always as its file has it
//! now.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use reqwest::header::HeaderValue;
use tokio::io::AsyncReadExt as _;

/// Longest token, in bytes.
const LONGEST: usize = 4096;

/// Ray's `RAY_AUTH_TOKEN`, sent as `Authorization: Bearer …`. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Token(Source);

#[derive(Clone)]
enum Source {
    Text(String),
    File(Arc<File>),
}

/// A file that holds a token. Its content is cached until the file changes or a server refuses the token.
struct File {
    path: PathBuf,
    read: Mutex<Option<(Stamp, String)>>,
}

/// Changes when a file is written or replaced, as Kubernetes does with a mounted secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

/// A token that is not valid in an HTTP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Ray token must be 1 to 4096 visible ASCII characters; check the secret for blanks or binary data"
)]
pub struct InvalidToken;

impl Token {
    /// Takes the text as stored in a secret; surrounding whitespace is trimmed.
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        let sendable =
            !text.is_empty() && text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic());
        if sendable { Ok(Self(Source::Text(text.to_owned()))) } else { Err(InvalidToken) }
    }

    /// The token in a file, which is read before the first call, and again when the file has changed or a
    /// server refused the token. A call for which it cannot be read fails with
    /// [`CallErrorKind::Token`](super::CallErrorKind::Token).
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(Arc::new(File { path: path.into(), read: Mutex::new(None) })))
    }

    /// The file that it comes from.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Source::Text(_) => None,
            Source::File(file) => Some(&file.path),
        }
    }

    /// The value to send now. An error says what is wrong with the file.
    pub(crate) async fn header(&self) -> Result<HeaderValue, String> {
        let text = match &self.0 {
            Source::Text(text) => text.clone(),
            Source::File(file) => file.text().await?,
        };
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|e| e.to_string())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// After a server refused `sent`: whether the file holds another token now.
    pub(crate) async fn has_another_than(&self, sent: &HeaderValue) -> bool {
        let Source::File(file) = &self.0 else { return false };
        *file.held() = None;
        self.header().await.is_ok_and(|now| now != *sent)
    }
}

impl File {
    fn held(&self) -> std::sync::MutexGuard<'_, Option<(Stamp, String)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn text(&self) -> Result<String, String> {
        let failed = |error: io::Error| {
            format!("{}: {error}; check the path and its permissions", self.path.display())
        };
        // Read before the content: if the file is written in between, its stamp differs and the next call
        // reads it again.
        let stamp = Stamp::of(&tokio::fs::metadata(&self.path).await.map_err(failed)?);
        if let Some((_, text)) = self.held().as_ref().filter(|(of, _)| *of == stamp) {
            return Ok(text.clone());
        }
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(&self.path).await.map_err(failed)?;
        file.take(2 * LONGEST as u64).read_to_end(&mut bytes).await.map_err(failed)?;
        match Token::new(&String::from_utf8_lossy(&bytes)) {
            Ok(Token(Source::Text(text))) => {
                *self.held() = Some((stamp, text.clone()));
                Ok(text)
            }
            _ => Err(format!("{}: {InvalidToken}", self.path.display())),
        }
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            #[cfg(unix)]
            inode: metadata.ino(),
        }
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Source::Text(a), Source::Text(b)) => a == b,
            (Source::File(a), Source::File(b)) => a.path == b.path,
            _ => false,
        }
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file() {
            None => f.write_str("Token(redacted)"),
            Some(path) => write!(f, "Token(redacted, of {})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn debug_does_not_show_the_token() {
        let token = Token::new(" s3cret\n").unwrap();
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        assert_eq!(format!("{:?}", token.header().await), "Ok(Sensitive)");
    }

    #[test]
    fn a_token_with_invalid_header_characters_is_refused() {
        for bad in ["", " \n", "a b", "a\r\nHost: x", "é"] {
            assert_eq!(Token::new(bad), Err(InvalidToken), "{bad:?}");
        }
    }
}
