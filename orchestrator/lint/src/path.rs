//! The way from a field's path to its place. No reading of manifests.

use crate::node::{Kind, Node};
use crate::place::Place;

/// Where a field is: the place of its name, or of an entry of a list; of one that is not there, that of the nearest one around it.
///
/// A name with dots in it may stand as it is (`metadata.labels.model.aibrix.ai/port`) or in brackets.
pub(crate) fn of(node: &Node, path: &str) -> Place {
    let (mut node, mut left, mut at) = (node, path, node.at);
    while let Some((name, next, rest)) = step(node, left) {
        (node, left, at) = (next, rest, name);
    }
    at
}

/// The place of the next part of a path, its node, and the rest of the path.
fn step<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(Place, &'n Node, &'p str)> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if let Some((inner, rest)) = path.strip_prefix('[').and_then(|path| path.split_once(']')) {
        return match &node.kind {
            Kind::List(items) => items.get(inner.parse::<usize>().ok()?).map(|item| (item.at, item, rest)),
            Kind::Object(fields) => {
                let field = fields.iter().rfind(|field| field.key == inner)?;
                Some((field.at, &field.node, rest))
            }
            Kind::Scalar(_) | Kind::Beyond(_) => None,
        };
    }
    let Kind::Object(fields) = &node.kind else { return None };
    let whole = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    let fields = fields.iter().filter_map(|field| Some((field, path.strip_prefix(field.key.as_str())?)));
    let found = fields.filter(|(field, rest)| !field.key.is_empty() && whole(rest));
    // The last of two of the same name, as the value has it.
    let (field, rest) = found.max_by_key(|(field, _)| field.key.len())?;
    Some((field.at, &field.node, rest))
}
