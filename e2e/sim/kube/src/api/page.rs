//! Continue tokens: the version of a list, and the last object of the previous page.

use super::Refusal;
use super::store::Key;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Version of the first page; `None`: a new list from here on, at any version.
    pub(super) version: Option<u64>,
    /// The last object that was returned.
    pub(super) after: Key,
}

impl Page {
    pub(super) fn parse(token: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::bad_request("continue key is not valid: encoded start key is not understood");
        let (version, key) = token.split_once('.').ok_or_else(wrong)?;
        let (namespace, name) = key.split_once('/').ok_or_else(wrong)?;
        let version = match version {
            "now" => None,
            number => Some(number.parse().map_err(|_| wrong())?),
        };
        Ok(Self { version, after: (namespace.to_owned(), name.to_owned()) })
    }

    pub(super) fn token(&self) -> String {
        let version = self.version.map_or_else(|| "now".to_owned(), |version| version.to_string());
        format!("{version}.{}/{}", self.after.0, self.after.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_a_round_trip() {
        for version in [Some(7), None] {
            let page = Page { version, after: ("n".into(), "a.b".into()) };
            assert_eq!(Page::parse(&page.token()).unwrap(), page);
        }
        for wrong in ["", "7", "x.n/a", "7.n"] {
            assert_eq!(Page::parse(wrong).unwrap_err().code, 400, "{wrong:?}");
        }
    }
}
