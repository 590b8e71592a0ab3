//! What it may cost to look for room. Tenants write what is compared, so what counts is not pods or nodes but looks: whatever a rule makes
//! the program do once more is one more look.

use serde_json::Value;

/// Looks that are left. One is about as much as finding a label by its key and comparing its value: a tenth of a microsecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    /// So many looks.
    pub(super) const fn of(looks: usize) -> Self {
        Self { left: looks }
    }

    /// Takes looks off. More than there are leave none.
    pub(super) fn spend(&mut self, looks: usize) {
        self.left = self.left.saturating_sub(looks);
    }

    #[cfg(test)]
    pub(super) fn left(self) -> usize {
        self.left
    }

    pub(super) fn is_spent(self) -> bool {
        self.left == 0
    }
}

/// Values in a JSON value: what it costs to read it.
pub(super) fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum(),
        _ => 0,
    }
}

/// What it costs to compare amounts: names of resources are short, and most nodes fail at the first.
pub(super) fn amounts(asked: &super::Resources) -> usize {
    1 + asked.len() / 8
}
