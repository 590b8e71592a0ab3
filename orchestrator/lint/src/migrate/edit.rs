//! Changes of values by the path of a field. What is changed is other modules' business.

use serde_json::{Map, Value};

/// The fields of an object, if it is one.
fn fields(value: &mut Value) -> Option<&mut Map<String, Value>> {
    value.as_object_mut()
}

/// Sets a field, and makes the objects around it that are not there. Where something else is in their place, nothing happens: to index a
/// value for a change would panic there.
pub(super) fn put(object: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    if let Some(fields) = fields(object) {
        put(fields.entry(*first).or_insert(Value::Null), rest, value);
    }
}

/// Takes a field out, and objects around it that are empty then, up to the object itself.
pub(super) fn take_out(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        return fields(object)?.remove(*first);
    }
    let inner = fields(object)?.get_mut(*first)?;
    let taken = take_out(inner, rest)?;
    if inner.as_object().is_some_and(Map::is_empty) {
        fields(object)?.remove(*first);
    }
    Some(taken)
}
