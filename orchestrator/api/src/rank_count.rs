//! How many ranks are where they should be, as the status writes it: `3/4`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Ranks placed as planned, of all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RankCount {
    /// Ranks that live where the plan has them.
    pub placed: u32,
    /// Ranks of the plan.
    pub total: u32,
}

impl RankCount {
    /// Every rank is placed.
    pub fn is_whole(self) -> bool {
        self.placed == self.total
    }
}

impl fmt::Display for RankCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.placed, self.total)
    }
}

impl TryFrom<String> for RankCount {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let counts = text.split_once('/');
        counts
            .and_then(|(placed, total)| {
                Some(Self { placed: placed.parse().ok()?, total: total.parse().ok()? })
            })
            .ok_or_else(|| format!("`{text}` is no count of ranks such as 3/4"))
    }
}

impl From<RankCount> for String {
    fn from(count: RankCount) -> Self {
        count.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_count_is_read_as_it_is_written() {
        let count = RankCount { placed: 3, total: 4 };
        assert_eq!(serde_json::to_value(count).unwrap(), json!("3/4"));
        assert_eq!(serde_json::from_value::<RankCount>(json!("3/4")).unwrap(), count);
        assert!(!count.is_whole() && RankCount { placed: 4, total: 4 }.is_whole());
        for odd in ["", "3", "3/", "-1/4", "3/4/5"] {
            assert!(RankCount::try_from(odd.to_owned()).unwrap_err().contains(odd), "{odd}");
        }
    }
}
