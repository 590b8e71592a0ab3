//! What it may cost to look for room. Tenants write what is compared, so what counts is not pods or nodes but looks: whatever a rule makes
//! the program do once more is one more look.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value;

use super::requests::Resources;

/// Looks that are left; clones share them. One is about as much as finding a label by its key and comparing its value: a tenth of a
/// microsecond.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    left: Rc<Cell<usize>>,
}

impl Budget {
    /// So many looks.
    pub(super) fn of(looks: usize) -> Self {
        Self { left: Rc::new(Cell::new(looks)) }
    }

    /// Takes looks off. More than there are leave none.
    pub(super) fn spend(&self, looks: usize) {
        self.left.set(self.left().saturating_sub(looks));
    }

    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left() == 0
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
pub(super) fn amounts(asked: &Resources) -> usize {
    1 + asked.len() / 8
}
