//! Parses the names of the engine's rank actors.

use super::Shape;

/// Ray class of vLLM's rank actors.
pub const RANK_ACTOR_CLASS: &str = "RayWorkerProc";

/// The content of a rank actor's name: `vllm_Worker_1795339883749150428_TP1_PP0`, or with data parallelism
/// `vllm_Worker_1795339883749150428_dp1_TP1_PP0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RankName {
    /// Data-parallel engine; `None` without data parallelism.
    pub data_rank: Option<u32>,
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
        let (rest, tensor_rank) = last_part(rest, "TP")?;
        // vLLM puts it behind the engine's own name, which may end in the same letters and no number.
        let data_rank = rest.rsplit_once("_dp").and_then(|(_, digits)| digits.parse().ok());
        Some(Self { data_rank, tensor_rank, stage })
    }

    /// Rank in an engine of this shape; `None` if the shape has no such rank. Without data parallelism the end of
    /// the engine's own name does not count.
    pub fn rank_in(self, shape: Shape) -> Option<u32> {
        let data_rank = if shape.data() == 1 { 0 } else { self.data_rank? };
        let fits =
            data_rank < shape.data() && self.stage < shape.pipeline() && self.tensor_rank < shape.tensor();
        fits.then(|| (data_rank * shape.pipeline() + self.stage) * shape.tensor() + self.tensor_rank)
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
    fn a_name_says_its_data_parallel_engine_and_its_rank() {
        let parse = |n| RankName::parse(n).unwrap();
        let name = parse("vllm_Worker_1795339883749150428_dp1_TP1_PP2");
        assert_eq!((name.data_rank, name.tensor_rank, name.stage), (Some(1), 1, 2));
        assert_eq!(parse("vllm_Worker_1_dp3").data_rank, Some(3));
        for none in ["vllm_Worker_my_dpx_TP1", "vllm_Worker_my_dp1_model-1a2b3_TP1", "vllm_Worker_1_TP1"] {
            assert_eq!(parse(none).data_rank, None, "{none}");
        }
        let rank = |data, n| parse(n).rank_in(Shape::of(data, 2, 3).unwrap());
        assert_eq!(rank(2, "vllm_Worker_1_dp1_TP1_PP2"), Some(11));
        assert_eq!(rank(2, "vllm_Worker_1_dp2_TP1_PP2"), None);
        assert_eq!(rank(2, "vllm_Worker_1_dp1_TP2_PP2"), None);
        assert_eq!(rank(2, "vllm_Worker_1_dp1_TP1_PP3"), None);
        assert_eq!(rank(2, "vllm_Worker_1_TP1_PP1"), None);
        assert_eq!(rank(1, "vllm_Worker_model_dp7_TP1_PP2"), Some(5));
    }

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
