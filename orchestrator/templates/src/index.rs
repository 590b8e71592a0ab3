//! What a `model.safetensors.index.json` says of a checkpoint's size, beside what its `config.json` comes to.

use serde::Serialize;
use serde_json::Value;

use crate::model::Model;
use crate::{parameters, rank};

/// How far apart the two may be, in thousandths: vision towers are estimated, and norms of some not counted.
const TOLERANCE_PERMILLE: u128 = 20;

/// Bytes that are stored, and bytes that were reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexCheck {
    /// `metadata.total_size` of the index.
    pub stored: u64,
    /// Bytes of what the engine loads.
    pub reckoned: u64,
    /// Bytes of prediction layers, which the checkpoint may hold as well, each with embedding and head.
    pub prediction: u64,
}

impl IndexCheck {
    /// Both sizes of a model; `None` if the index has no size.
    pub fn of(model: &Model, index: &Value) -> Option<Self> {
        let stored = index.get("metadata")?.get("total_size")?.as_u64()?;
        let reckoned = rank::checkpoint(model);
        // A prediction layer is stored as the others on average; embedding and head in two bytes.
        let layer =
            parameters::prediction_layer(model) * u128::from(reckoned) / parameters::total(model).max(1);
        let ends = 4 * u128::from(model.vocabulary) * u128::from(model.hidden);
        let prediction = (layer + ends) * u128::from(model.prediction_layers);
        Some(Self { stored, reckoned, prediction: u64::try_from(prediction).unwrap_or(u64::MAX) })
    }

    /// The checkpoint holds what was reckoned, with or without prediction layers. If not, either file is of
    /// another model, or the arithmetic does not know the model well enough.
    pub fn agrees(&self) -> bool {
        let (stored, reckoned) = (u128::from(self.stored), u128::from(self.reckoned));
        let most = reckoned + u128::from(self.prediction);
        stored * 1000 >= reckoned * (1000 - TOLERANCE_PERMILLE)
            && stored * 1000 <= most * (1000 + TOLERANCE_PERMILLE)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalogue::Catalogue;

    fn check(name: &str, index: &Value) -> Option<IndexCheck> {
        IndexCheck::of(&Catalogue::embedded().unwrap().model(name, None).unwrap(), index)
    }

    #[test]
    fn a_checkpoint_may_hold_prediction_layers_as_well() {
        let with = |bytes: u64| check("deepseek-r1", &json!({"metadata": {"total_size": bytes}})).unwrap();
        let found = with(673_150_611_808);
        assert_eq!((found.stored, found.reckoned), (673_150_611_808, 673_150_611_808));
        assert!((15_000_000_000..16_000_000_000).contains(&found.prediction), "{}", found.prediction);
        assert!(found.agrees());
        assert!(with(found.reckoned + found.prediction).agrees());
        assert!(!with(found.reckoned / 100 * 97).agrees());
        assert!(!with((found.reckoned + found.prediction) / 100 * 103).agrees());
    }

    #[test]
    fn a_prediction_layer_is_stored_as_the_others() {
        let found = check("glm-4.6", &json!({"metadata": {"total_size": 1}})).unwrap();
        // Two bytes a number, and 321 for its part of the corrections, which have four.
        assert_eq!(found.prediction, 2 * 3_988_069_792 + 4 * 151_552 * 5_120 + 321);
    }

    #[test]
    fn an_index_without_a_size_says_nothing() {
        assert_eq!(check("qwen3-235b", &json!({"metadata": {}})), None);
        assert_eq!(check("qwen3-235b", &json!([3])), None);
    }
}
