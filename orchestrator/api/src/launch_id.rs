//! One start of a group's engine, and its name in Ray.

use std::fmt;
use std::str::FromStr;

use crate::{EngineRevision, GroupName};

/// One start of a group's engine. As text it is the submission id of its job: unique for each launch, the same however
/// often one is repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaunchId {
    /// The group.
    pub group: GroupName,
    /// Revision of the engine; `None` where the template starts it.
    pub engine: Option<EngineRevision>,
    /// Number of the launch on this RayCluster.
    pub number: u32,
}

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.group, self.engine.as_deref().unwrap_or_default(), self.number)
    }
}

impl FromStr for LaunchId {
    type Err = String;

    // A group that was taken over may have dots in its name, a revision has none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let odd = || format!("`{text}` is no launch: not <group>.<engine revision>.<number>");
        let (rest, number) = text.rsplit_once('.').ok_or_else(odd)?;
        let (group, engine) = rest.rsplit_once('.').filter(|(group, _)| !group.is_empty()).ok_or_else(odd)?;
        let engine = (!engine.is_empty()).then(|| engine.into());
        Ok(Self { group: group.into(), engine, number: number.parse().map_err(|_| odd())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_is_read_as_it_is_written() {
        let launch = |group: &str, engine: Option<&str>, number| LaunchId {
            group: group.into(),
            engine: engine.map(Into::into),
            number,
        };
        for (text, wanted) in [
            ("llama-pods1-0.eng1.4", launch("llama-pods1-0", Some("eng1"), 4)),
            ("llama-pods1-0..0", launch("llama-pods1-0", None, 0)),
            ("a.b.eng1.1", launch("a.b", Some("eng1"), 1)),
        ] {
            assert_eq!((text.parse(), wanted.to_string().as_str()), (Ok(wanted.clone()), text));
        }
        for odd in ["", "llama", "llama.x", ".eng1.1", "llama.eng1.-1", "llama.eng1."] {
            assert!(odd.parse::<LaunchId>().unwrap_err().contains(odd), "{odd}");
        }
    }
}
