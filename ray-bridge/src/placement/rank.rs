//! Parses the names of the engine's rank actors.

/// Ray class of vLLM's rank actors.
pub const RANK_ACTOR_CLASS: &str = "RayWorkerProc";

/// The content of a rank actor's name: `vllm_Worker_1795339883749150428_TP1_PP0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RankName {
    /// Rank within its stage.
    pub tensor_rank: u32,
    /// Pipeline stage.
    pub stage: u32,
}

impl RankName {
    /// Parses the end of an actor's name; a missing part is 0, as vLLM leaves out parts without parallelism.
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("vllm_Worker_")?;
        // From the end: what stands before is the engine's own name, which may hold anything.
        let (rest, stage) = last_part(rest, "PP")?;
        let (_, tensor_rank) = last_part(rest, "TP")?;
        Some(Self { tensor_rank, stage })
    }
}

/// Splits `…_PP3` into the rest and 3; 0 if the last part is another one. `None` if the number is invalid.
fn last_part<'a>(name: &'a str, letters: &str) -> Option<(&'a str, u32)> {
    match name.rsplit_once('_').map(|(rest, last)| (rest, last.strip_prefix(letters))) {
        Some((rest, Some(digits))) => Some((rest, digits.parse().ok()?)),
        _ => Some((name, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_and_shortened_names_are_parsed() {
        let parse = |n| RankName::parse(n).map(|r| (r.tensor_rank, r.stage));
        assert_eq!(parse("vllm_Worker_1795339883749150428_TP1_PP0"), Some((1, 0)));
        assert_eq!(parse("vllm_Worker_1795339883749150428_TP0_PP13"), Some((0, 13)));
        assert_eq!(parse("vllm_Worker_1795339883749150428_PP1"), Some((0, 1)));
        assert_eq!(parse("vllm_Worker_1_TP3"), Some((3, 0)));
        assert_eq!(parse("vllm_Worker_1"), Some((0, 0)));
        assert_eq!(parse("vllm_Worker_my_TP4_PP9_model-1a2b3_TP1_PP0"), Some((1, 0)));
    }

    #[test]
    fn other_actors_are_not_ranks() {
        for name in
            ["", "chat/api", "TP0_PP0", "vllm_Worker_1_TPx_PP0", "vllm_Worker_1_TP99999999999", "vllm_Worker"]
        {
            assert_eq!(RankName::parse(name), None, "{name:?}");
        }
    }
}
