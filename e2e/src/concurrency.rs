//! Which tests of a cluster run at the same time, in the order that they have. Nothing is run here. Pure.

/// What may run at the same time as a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// Nothing: it breaks what all share (nodes, KubeRay, CRDs, the orchestrator), counts what all do, measures how soon something
    /// happens, or takes most of the GPUs or of the processor.
    Exclusive,
    /// A test in the second namespace.
    Shared,
    /// The same, and it runs in the second namespace itself. It leaves nothing there.
    SecondNamespace,
}

/// Tests that run at the same time: each list one after the other.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// In the namespace of all tests; never empty.
    pub first: Vec<T>,
    /// In a namespace of their own.
    pub second: Vec<T>,
}

/// Tests that follow each other and are not exclusive are one batch; an exclusive test is one alone.
pub fn batches<T>(all: Vec<T>, concurrency: impl Fn(&T) -> Concurrency) -> Vec<Batch<T>> {
    let mut batches: Vec<Batch<T>> = Vec::new();
    let mut is_open = false;
    for test in all {
        let concurrency = concurrency(&test);
        if !is_open || concurrency == Concurrency::Exclusive {
            batches.push(Batch { first: Vec::new(), second: Vec::new() });
        }
        is_open = concurrency != Concurrency::Exclusive;
        if let Some(batch) = batches.last_mut() {
            let is_second = concurrency == Concurrency::SecondNamespace;
            let list = if is_second { &mut batch.second } else { &mut batch.first };
            list.push(test);
        }
    }
    for batch in &mut batches {
        // Nothing runs in the first namespace, so no second one is needed.
        if batch.first.is_empty() {
            std::mem::swap(&mut batch.first, &mut batch.second);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line for each batch.
    fn of(names: &[&'static str]) -> Vec<String> {
        let concurrency = |name: &&'static str| match name.chars().next() {
            Some('a') => Concurrency::Shared,
            Some('b') => Concurrency::SecondNamespace,
            _ => Concurrency::Exclusive,
        };
        let line = |batch: Batch<&'static str>| {
            if batch.second.is_empty() {
                batch.first.join(" ")
            } else {
                format!("{} | {}", batch.first.join(" "), batch.second.join(" "))
            }
        };
        batches(names.to_vec(), concurrency).into_iter().map(line).collect()
    }

    #[test]
    fn an_exclusive_test_runs_alone() {
        assert_eq!(of(&["x", "y"]), ["x", "y"]);
        assert_eq!(of(&["a1", "x", "b1"]), ["a1", "x", "b1"]);
    }

    #[test]
    fn tests_that_are_not_exclusive_run_in_two_namespaces_in_their_order() {
        assert_eq!(of(&["x", "a1", "a2", "b1", "b2", "a3", "y"]), ["x", "a1 a2 a3 | b1 b2", "y"]);
    }

    #[test]
    fn without_others_all_are_in_the_first_namespace() {
        assert_eq!(of(&["b1", "b2"]), ["b1 b2"]);
        assert_eq!(of(&["a1", "a2"]), ["a1 a2"]);
        assert!(of(&[]).is_empty());
    }
}
