//! What is wrong with one field.

/// One reason why something cannot be worked on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}{}{problem}", if .field.is_empty() { "" } else { ": " })]
pub struct FieldError {
    /// Path of the field; empty for all of it.
    pub field: String,
    /// What is wrong and what helps.
    pub problem: String,
}

impl FieldError {
    /// The same, seen from an object that holds the block in this field.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let field = if self.field.is_empty() { outer.to_owned() } else { format!("{outer}.{}", self.field) };
        Self { field, ..self }
    }
}

/// Such a reason.
pub fn invalid(field: &str, problem: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_field_from_where_it_is_read() {
        let of = |field: &str| invalid(field, "is wrong");
        assert_eq!((of("a.b").to_string(), of("").to_string()), ("a.b: is wrong".into(), "is wrong".into()));
        assert_eq!(of("a.b").within("spec.model").field, "spec.model.a.b");
        assert_eq!(of("").within("spec.model").field, "spec.model");
    }
}
