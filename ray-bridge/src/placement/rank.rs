//! The names that the engine's rank actors carry.

/// Ray class of vLLM's rank actors.
pub const RANK_ACTOR_CLASS: &str = "RayWorkerProc";

/// What the name of a rank actor says: `vllm_Worker_1795339883749150428_TP1_PP0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RankName {
    /// Rank within its stage.
    pub tensor_rank: u32,
    /// Pipeline stage.
    pub stage: u32,
}

impl RankName {
    /// Reads the end of an actor's name; a part that is left out is 0, as the engine leaves out what is not parallel.
    pub fn parse(name: &str) -> Option<Self> {
        if !name.starts_with("vllm_Worker") {
            return None;
        }
        let mut found = Self { tensor_rank: 0, stage: 0 };
        for part in name.split('_') {
            if let Some(digits) = part.strip_prefix("TP") {
                found.tensor_rank = digits.parse().ok()?;
            } else if let Some(digits) = part.strip_prefix("PP") {
                found.stage = digits.parse().ok()?;
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_and_shortened_names() {
        let parse = |n| RankName::parse(n).map(|r| (r.tensor_rank, r.stage));
        assert_eq!(parse("vllm_Worker_1795339883749150428_TP1_PP0"), Some((1, 0)));
        assert_eq!(parse("vllm_Worker_1795339883749150428_TP0_PP13"), Some((0, 13)));
        assert_eq!(parse("vllm_Worker_1795339883749150428_PP1"), Some((0, 1)));
        assert_eq!(parse("vllm_Worker_1"), Some((0, 0)));
    }

    #[test]
    fn other_actors_are_not_ranks() {
        for name in ["", "chat/api", "TP0_PP0", "vllm_Worker_1_TPx_PP0", "vllm_Worker_1_TP99999999999"] {
            assert_eq!(RankName::parse(name), None, "{name:?}");
        }
    }
}
