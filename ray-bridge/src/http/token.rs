//! The shared secret of a Ray cluster: never printed, always a valid header.

use std::fmt;

use reqwest::header::HeaderValue;

/// Ray's `RAY_AUTH_TOKEN`, sent as `Authorization: Bearer …`. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A token that no HTTP header can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Ray token must be 1 to 4096 visible ASCII characters; check the secret for blanks or binary data"
)]
pub struct InvalidToken;

impl Token {
    /// Takes the text as stored in a secret; blanks and line ends around it are dropped.
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        let sendable = !text.is_empty() && text.len() <= 4096 && text.bytes().all(|b| b.is_ascii_graphic());
        if sendable { Ok(Self(text.to_owned())) } else { Err(InvalidToken) }
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_itself_to_nobody() -> Result<(), InvalidToken> {
        let token = Token::new(" s3cret\n")?;
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        assert_eq!(format!("{:?}", token.header()), "Some(Sensitive)");
        Ok(())
    }

    #[test]
    fn a_token_that_breaks_a_header_is_refused() {
        for bad in ["", " \n", "a b", "a\r\nHost: x", "é"] {
            assert_eq!(Token::new(bad), Err(InvalidToken), "{bad:?}");
        }
    }
}
