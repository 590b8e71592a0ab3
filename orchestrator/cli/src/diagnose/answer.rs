//! Answers of the API server: what was read, and what was not and why. No calls and no conclusions here.

/// An answer of the API server, or why there is none.
pub(super) type Answer<T> = Result<T, NoAnswer>;

/// Why something could not be read. A fact like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// 404: neither the object nor its kind is there.
    Missing,
    /// 403: the verb, the resource, where (empty: the whole cluster), and the API server's words.
    Forbidden { verb: &'static str, resource: &'static str, namespace: String, words: String },
    /// Not reached, or an error; with the cure if one is known.
    Failed { what: String, cure: Option<String> },
    /// There is more than this many objects, and the rest is not read.
    TooLong(usize),
    /// The time of the whole run is over; in seconds.
    OutOfTime(u64),
    /// Not asked, because an earlier answer made it pointless.
    NotAsked,
}

impl NoAnswer {
    /// Whether bounds, time or an error are the reason: another try may bring more.
    fn is_cut(&self) -> bool {
        matches!(self, Self::TooLong(_) | Self::OutOfTime(_) | Self::Failed { .. })
    }
}

/// A list as far as it was read.
#[derive(Clone, Debug)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// Objects that cannot be read, and are left out.
    pub(super) unreadable: usize,
    /// Why there may be more.
    pub(super) ends: Option<NoAnswer>,
}

impl<T> List<T> {
    /// A list without its items.
    fn emptied(&self) -> Self {
        Self { items: Vec::new(), unreadable: self.unreadable, ends: self.ends.clone() }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self { items, unreadable: 0, ends: None }
    }
}

/// What was read of a list.
pub(super) fn items<T>(answer: &Answer<List<T>>) -> &[T] {
    answer.as_ref().map(|list| &*list.items).unwrap_or_default()
}

/// Whether nothing of a list is missing.
pub(super) fn is_whole<T>(answer: &Answer<List<T>>) -> bool {
    answer.as_ref().is_ok_and(|list| list.unreadable == 0 && list.ends.is_none())
}

/// Whether bounds, time or an error have kept something from being read.
pub(super) fn is_cut<T>(answer: &Answer<T>) -> bool {
    answer.as_ref().is_err_and(NoAnswer::is_cut)
}

/// The same of a list, which may end before its end.
pub(super) fn is_cut_list<T>(answer: &Answer<List<T>>) -> bool {
    is_cut(answer) || answer.as_ref().is_ok_and(|list| list.ends.as_ref().is_some_and(NoAnswer::is_cut))
}

/// The share that each of `count` owners has in a list. What is missing from the list may be missing from each.
pub(super) fn shares<T>(
    all: Answer<List<T>>,
    count: usize,
    owner: impl Fn(&T) -> Option<usize>,
) -> Vec<Answer<List<T>>> {
    let empty = all.as_ref().map(List::emptied).map_err(Clone::clone);
    let mut shares: Vec<_> =
        (0..count).map(|_| empty.as_ref().map(List::emptied).map_err(Clone::clone)).collect();
    for item in all.into_iter().flat_map(|list| list.items) {
        if let Some(Ok(share)) = owner(&item).and_then(|at| shares.get_mut(at)) {
            share.items.push(item);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_from_a_list_is_missing_from_each_share() {
        let all = List { items: vec![1, 2, 3, 9], unreadable: 1, ends: Some(NoAnswer::TooLong(4)) };
        let shares = shares(Ok(all), 2, |item| (*item < 9).then_some(item % 2));
        assert_eq!((items(&shares[0]), items(&shares[1])), (&[2][..], &[1, 3][..]));
        assert!(shares.iter().all(|share| !is_whole(share)));
        let none: Vec<Answer<List<u8>>> = super::shares(Err(NoAnswer::Missing), 1, |_| None);
        assert_eq!(none[0].as_ref().unwrap_err(), &NoAnswer::Missing);
    }
}
