//! Numbers of ranks, short.

/// Numbers in any order as ranges: `0-3,6`.
pub fn ranges<N: Into<i64>>(numbers: impl IntoIterator<Item = N>) -> String {
    let mut numbers: Vec<i64> = numbers.into_iter().map(Into::into).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let runs = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let texts: Vec<String> = runs
        .filter_map(|run| match run {
            [one] => Some(one.to_string()),
            [first, .., last] => Some(format!("{first}-{last}")),
            [] => None,
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_a_range() {
        for (numbers, text) in [
            (&[][..], ""),
            (&[4], "4"),
            (&[3, 1, 0, 2, 6, 6], "0-3,6"),
            (&[i64::MAX, 0], "0,9223372036854775807"),
        ] {
            assert_eq!(ranges(numbers.iter().copied()), text);
        }
    }
}
