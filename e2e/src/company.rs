//! Which tests of a cluster run at a time: by what each can bear, in the order that they have. Nothing is run here. Pure.

/// What a test can bear beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Nobody: it breaks what all share (nodes, KubeRay, CRDs, the orchestrator), counts what all do, measures how soon something
    /// happens, or takes most of the GPUs or of the processor.
    Shuns,
    /// A test in another namespace.
    Bears,
    /// The same, and it goes to the other namespace itself. It leaves nothing there.
    Seeks,
}

/// Tests that run at a time: each list one after the other.
#[derive(Debug, PartialEq, Eq)]
pub struct Stage<T> {
    /// In the namespace of all tests; never empty.
    pub first: Vec<T>,
    /// In a namespace of their own.
    pub beside: Vec<T>,
}

/// Those that bear each other and follow each other are a stage; whoever shuns company is one alone.
pub fn stages<T>(all: Vec<T>, company: impl Fn(&T) -> Company) -> Vec<Stage<T>> {
    let mut stages: Vec<Stage<T>> = Vec::new();
    let mut is_open = false;
    for test in all {
        let company = company(&test);
        if !is_open || company == Company::Shuns {
            stages.push(Stage { first: Vec::new(), beside: Vec::new() });
        }
        is_open = company != Company::Shuns;
        if let Some(stage) = stages.last_mut() {
            let list = if company == Company::Seeks { &mut stage.beside } else { &mut stage.first };
            list.push(test);
        }
    }
    for stage in &mut stages {
        // Nobody is there to be beside.
        if stage.first.is_empty() {
            std::mem::swap(&mut stage.first, &mut stage.beside);
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line for each stage.
    fn of(names: &[&'static str]) -> Vec<String> {
        let company = |name: &&'static str| match name.chars().next() {
            Some('b') => Company::Bears,
            Some('s') => Company::Seeks,
            _ => Company::Shuns,
        };
        let line = |stage: Stage<&'static str>| {
            if stage.beside.is_empty() {
                stage.first.join(" ")
            } else {
                format!("{} | {}", stage.first.join(" "), stage.beside.join(" "))
            }
        };
        stages(names.to_vec(), company).into_iter().map(line).collect()
    }

    #[test]
    fn whoever_shuns_company_is_alone() {
        assert_eq!(of(&["x", "y"]), ["x", "y"]);
        assert_eq!(of(&["b1", "x", "s1"]), ["b1", "x", "s1"]);
    }

    #[test]
    fn those_that_bear_each_other_run_side_by_side_in_their_order() {
        assert_eq!(of(&["x", "b1", "b2", "s1", "s2", "b3", "y"]), ["x", "b1 b2 b3 | s1 s2", "y"]);
    }

    #[test]
    fn without_others_all_are_in_the_first_namespace() {
        assert_eq!(of(&["s1", "s2"]), ["s1 s2"]);
        assert_eq!(of(&["b1", "b2"]), ["b1 b2"]);
        assert!(of(&[]).is_empty());
    }
}
