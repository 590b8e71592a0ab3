//! The namespaces that a program works in: all of the cluster, or a few that are named. What is watched in them says who watches, which
//! rights that takes `manifests/`.

use std::collections::BTreeSet;
use std::str::FromStr;

/// Most namespaces that can be named: each costs ten watches.
const MOST: usize = 32;
/// Longest name of a namespace.
const LONGEST: usize = 63;

/// The namespaces that are looked after. Empty: all of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(BTreeSet<String>);

impl Namespaces {
    /// Those that are named; none if all are meant.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Why a list of namespaces is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNamespaces {
    /// Nothing is named.
    #[error("names no namespace: leave it out to look after all namespaces")]
    Empty,
    /// No namespace can be called this.
    #[error(
        "`{0}` is no name of a namespace: at most {LONGEST} of a-z, 0-9 and `-`, which neither begins nor ends it"
    )]
    Name(String),
    /// Too many.
    #[error(
        "names {0} namespaces and may name {MOST}: install once more, in a namespace of its own, for the others"
    )]
    TooMany(usize),
}

impl FromStr for Namespaces {
    type Err = NoNamespaces;

    /// Names with commas between them.
    fn from_str(text: &str) -> Result<Self, NoNamespaces> {
        let names: BTreeSet<String> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if let Some(wrong) = names.iter().find(|name| !is_name(name)) {
            return Err(NoNamespaces::Name(wrong.chars().take(2 * LONGEST).collect()));
        }
        match names.len() {
            0 => Err(NoNamespaces::Empty),
            1..=MOST => Ok(Self(names)),
            many => Err(NoNamespaces::TooMany(many)),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_inner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    name.len() <= LONGEST && name.bytes().all(is_inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, NoNamespaces> {
        text.parse::<Namespaces>().map(|all| all.named().map(str::to_owned).collect())
    }

    #[test]
    fn names_are_read_in_order_and_once() {
        assert_eq!(read("team-b, team-a,team-b,").unwrap(), ["team-a", "team-b"]);
        assert_eq!(Namespaces::default().named().count(), 0);
    }

    #[test]
    fn an_empty_namespace_is_refused_and_not_taken_for_all() {
        for none in ["", " ", ",", ", ,"] {
            assert_eq!(read(none), Err(NoNamespaces::Empty), "{none:?}");
        }
        for wrong in ["A", "a.b", "a/b", "-a", "a-", "*", &"a".repeat(64)] {
            assert!(matches!(read(&format!("a,{wrong}")), Err(NoNamespaces::Name(_))), "{wrong}");
        }
        let many = |count: usize| (0..count).map(|number| format!("n{number}")).collect::<Vec<_>>().join(",");
        assert_eq!(read(&many(MOST)).unwrap().len(), MOST);
        assert_eq!(read(&many(MOST + 1)), Err(NoNamespaces::TooMany(MOST + 1)));
    }
}
