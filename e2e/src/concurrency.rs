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
pub struct Stage<T> {
    /// In the namespace of all tests; never empty.
    pub first: Vec<T>,
    /// In a namespace of their own.
    pub second: Vec<T>,
}

/// Tests that follow each other and are not exclusive are one stage; an exclusive test is one alone.
pub fn stages<T>(all: Vec<T>, concurrency: impl Fn(&T) -> Concurrency) -> Vec<Stage<T>> {
    let mut stages: Vec<Stage<T>> = Vec::new();
    let mut is_open = false;
    for test in all {
        let concurrency = concurrency(&test);
        if !is_open || concurrency == Concurrency::Exclusive {
            stages.push(Stage { first: Vec::new(), second: Vec::new() });
        }
        is_open = concurrency != Concurrency::Exclusive;
        if let Some(stage) = stages.last_mut() {
            let is_second = concurrency == Concurrency::SecondNamespace;
            let list = if is_second { &mut stage.second } else { &mut stage.first };
            list.push(test);
        }
    }
    for stage in &mut stages {
        // Nothing runs in the first namespace, so no second one is needed.
        if stage.first.is_empty() {
            std::mem::swap(&mut stage.first, &mut stage.second);
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line for each stage.
    fn of(names: &[&'static str]) -> Vec<String> {
        let concurrency = |name: &&'static str| match name.chars().next() {
            Some('a') => Concurrency::Shared,
            Some('b') => Concurrency::SecondNamespace,
            _ => Concurrency::Exclusive,
        };
        let line = |stage: Stage<&'static str>| {
            if stage.second.is_empty() {
                stage.first.join(" ")
            } else {
                format!("{} | {}", stage.first.join(" "), stage.second.join(" "))
            }
        };
        stages(names.to_vec(), concurrency).into_iter().map(line).collect()
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
