//! Names that a reader may have meant. Pure.

/// The longest text that is compared; longer ones are near to nothing.
const LONGEST: usize = 64;

/// At most three of the known names, the nearest first: those within a third of the longer one's letters, those that
/// contain what was asked for, and those of a family that is as near.
pub(super) fn nearest<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let asked = asked.to_ascii_lowercase();
    if asked.len() > LONGEST {
        return Vec::new();
    }
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|name| {
            let far = distance(&asked, name);
            let within = asked.len() >= 3 && (name.contains(&asked) || asked.contains(name));
            // A family is often all that is asked for, as `llma`.
            let family = name.split('-').next().unwrap_or_default();
            let near = |other: &str| distance(&asked, other) * 3 <= asked.len().max(other.len());
            (within || near(name) || near(family)).then_some((far, name))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// `; did you mean a, b?`, or nothing.
pub(super) fn hint<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(asked, known).as_slice() {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}

/// Letters to insert, to remove or to change (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, c) in one.chars().enumerate() {
        let mut before = index;
        let mut left = index + 1;
        for (cell, o) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            left = (before + usize::from(c != *o)).min(above + 1).min(left + 1);
            (before, *cell) = (above, left);
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        for (one, other, far) in [("", "", 0), ("", "ab", 2), ("h100", "h200", 1), ("kitten", "sitting", 3)] {
            assert_eq!((distance(one, other), distance(other, one)), (far, far), "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_names_come_first() {
        let known = ["deepseek-r1", "deepseek-v3", "llama-3.1-405b", "h100", "h200"];
        assert_eq!(nearest("deepseek-r2", known), ["deepseek-r1", "deepseek-v3"]);
        assert_eq!(nearest("LLAMA-3.1-405", known), ["llama-3.1-405b"]);
        assert_eq!(nearest("llama", known), ["llama-3.1-405b"]);
        assert_eq!(nearest("llma", known), ["llama-3.1-405b"]);
        assert_eq!(nearest("gpt", known), [""; 0]);
        assert_eq!(nearest("", known), [""; 0]);
        assert_eq!(nearest(&"h100".repeat(20), known), [""; 0]);
        assert_eq!(hint("h10", known), "; did you mean h100?");
        assert_eq!(hint("zz", known), "");
    }
}
