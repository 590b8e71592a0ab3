//! A choice as text, for people. As JSON it is [`Choice`] itself. Nothing is reckoned here.

use std::fmt::Write as _;

use crate::cache::KvPrecision;
use crate::choose::{Choice, Fit, Stage};
use crate::shape::Shape;

/// The choice in lines of at most about 100 columns.
pub fn explain(title: &str, choice: &Choice) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, title, choice);
    text
}

fn write(text: &mut String, title: &str, choice: &Choice) -> std::fmt::Result {
    let demand = &choice.demand;
    let context = demand.context.unwrap_or_default();
    writeln!(
        text,
        "{title}: {} parameters, {} in {}",
        billions(choice.parameters),
        gb(choice.checkpoint),
        choice.precision
    )?;
    writeln!(
        text,
        "{}: {} each, of which vLLM uses {} ({}.{} %); {} a node, {}",
        choice.gpu.title,
        gb(choice.gpu.memory()),
        gb(choice.gpu.usable(demand.utilization_permille)),
        demand.utilization_permille / 10,
        demand.utilization_permille % 10,
        demand.gpus_per_node.unwrap_or(choice.gpu.per_node),
        choice.gpu.link.text()
    )?;
    let cache = if demand.kv == KvPrecision::Fp8 { "fp8" } else { "auto" };
    writeln!(text, "asked: {} of {context} tokens, cache {cache}\n", count(demand.sequences, "sequence"))?;
    match &choice.chosen {
        Some(fit) => {
            writeln!(text, "chosen: {}", shape(fit.shape))?;
            ranks(text, fit)?;
            parts(text, fit)?;
            writeln!(text, "  room for {} of {context} tokens", count(fit.sequences, "sequence"))?;
        }
        None => none(text, choice)?,
    }
    if choice.chosen.is_some() && !choice.alternatives.is_empty() {
        writeln!(text, "\nalso:")?;
        for fit in &choice.alternatives {
            writeln!(text, "  {}: {}", shape(fit.shape), outcome(fit, context))?;
        }
    }
    if !choice.refused.is_empty() {
        writeln!(text, "\nnot possible:")?;
        for refused in &choice.refused {
            writeln!(text, "  tensor {}: {}", refused.tensor, refused.why)?;
        }
    }
    if !choice.notes.is_empty() {
        writeln!(text, "\nnotes:")?;
        choice.notes.iter().try_for_each(|note| writeln!(text, "  {note}"))?;
    }
    Ok(())
}

fn none(text: &mut String, choice: &Choice) -> std::fmt::Result {
    let nodes = count(u64::from(choice.demand.most_nodes), "node");
    let Some(fit) = choice.alternatives.last() else {
        return writeln!(text, "no shape is possible on up to {nodes}");
    };
    writeln!(text, "no shape fits on up to {nodes}; the nearest is {}", shape(fit.shape))?;
    ranks(text, fit)?;
    parts(text, fit)?;
    if let Some((index, stage)) = fit.fullest() {
        writeln!(
            text,
            "  missing: {} on each rank of stage {index}, which needs {} and may use {}",
            gb(stage.missing),
            gb(stage.needed()),
            gb(stage.usable)
        )?;
    }
    writeln!(text, "cure:  {}", cure(fit))
}

/// What would help a shape that does not fit.
pub fn cure(fit: &Fit) -> String {
    match (fit.sequences, fit.longest_context) {
        (0, 0) => "a GPU with more memory, a smaller precision, or more nodes".to_owned(),
        (0, longest) => format!("a context of {longest} tokens fits here for one sequence"),
        (sequences, _) => format!("{} of that length fit here, or more nodes", count(sequences, "sequence")),
    }
}

fn outcome(fit: &Fit, context: u64) -> String {
    if fit.fits() {
        return format!("room for {} of {context} tokens", count(fit.sequences, "sequence"));
    }
    let missing = gb(fit.missing);
    let would = match (fit.sequences, fit.longest_context) {
        (0, 0) => String::new(),
        (0, longest) => format!("; {longest} tokens would fit"),
        (sequences, _) => format!("; {} would fit", count(sequences, "sequence")),
    };
    format!("does not fit: {missing} missing on a rank{would}")
}

/// A table of stages; neighbours that need the same are one line.
fn ranks(text: &mut String, fit: &Fit) -> std::fmt::Result {
    writeln!(text, "  each rank of      layers    weights   overhead      cache     usable       free")?;
    let mut stages = fit.stages.iter().enumerate().peekable();
    while let Some((first, stage)) = stages.next() {
        let mut last = first;
        while let Some((index, _)) = stages.next_if(|(_, next)| alike(stage, next)) {
            last = index;
        }
        let name = if first == last { format!("stage {first}") } else { format!("stages {first} to {last}") };
        writeln!(
            text,
            "  {name:<16} {:>7} {:>10} {:>10} {:>10} {:>10} {:>10}",
            stage.layers,
            gb(stage.weights.bytes()),
            gb(stage.overhead.bytes()),
            gb(stage.cache_bytes),
            gb(stage.usable),
            free(stage)
        )?;
    }
    Ok(())
}

/// What weights and overhead of the fullest stage consist of, the largest first, without what rounds to nothing.
fn parts(text: &mut String, fit: &Fit) -> std::fmt::Result {
    let Some((index, stage)) = fit.fullest() else { return Ok(()) };
    let list = |mut parts: Vec<(&str, u64)>| {
        parts.retain(|(_, bytes)| *bytes >= 50_000_000);
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        parts.iter().map(|(name, bytes)| format!("{name} {}", gb(*bytes))).collect::<Vec<_>>().join(", ")
    };
    let mut weights: Vec<_> =
        stage.weights.weights.iter().map(|(group, bytes)| (group.text(), *bytes)).collect();
    weights.push(("derived", stage.weights.derived));
    let overhead = &stage.overhead;
    let beside = vec![
        ("activation", overhead.activation),
        ("logits", overhead.logits),
        ("communication", overhead.communication),
        ("other", overhead.other),
    ];
    writeln!(text, "  of stage {index}: weights: {}", list(weights))?;
    writeln!(text, "    overhead: {}", list(beside))
}

fn alike(one: &Stage, other: &Stage) -> bool {
    let same = |stage: &Stage| (stage.layers, stage.weights.bytes(), stage.overhead, stage.cache);
    same(one) == same(other)
}

fn free(stage: &Stage) -> String {
    if stage.missing > 0 { format!("-{}", gb(stage.missing)) } else { gb(stage.usable - stage.needed()) }
}

/// A shape, as in `2 nodes with 8 GPUs, tensor 8 × pipeline 2`.
pub fn shape(shape: Shape) -> String {
    let data = if shape.data == 1 { String::new() } else { format!("data {} × ", shape.data) };
    format!(
        "{} with {}, {data}tensor {} × pipeline {}",
        count(u64::from(shape.nodes), "node"),
        count(u64::from(shape.gpus_per_node), "GPU"),
        shape.tensor,
        shape.pipeline
    )
}

/// A number of things, as in `2 nodes`.
pub fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Bytes with one decimal, in units of 10^9, rounded to the nearest.
pub fn gb(bytes: u64) -> String {
    let tenths = bytes.saturating_add(50_000_000) / 100_000_000;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// A number of parameters, in units of 10^9.
pub fn billions(number: u64) -> String {
    let tenths = number.saturating_add(50_000_000) / 100_000_000;
    format!("{}.{} billion", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::choose::{Demand, choose};

    fn of(model: &str, precision: Option<&str>, gpu: &str, demand: &Demand) -> String {
        let catalogue = Catalogue::embedded().unwrap();
        let choice = choose(&catalogue.model(model, precision).unwrap(), catalogue.gpu(gpu).unwrap(), demand);
        explain(&catalogue.entry(model).unwrap().title, &choice)
    }

    #[test]
    fn a_model_over_two_nodes() {
        insta::assert_snapshot!(of("deepseek-r1", None, "h100", &Demand::default()));
    }

    #[test]
    fn a_model_that_fits_nowhere() {
        let demand = Demand { most_nodes: 2, ..Demand::default() };
        insta::assert_snapshot!(of("kimi-k2", None, "l40s", &demand));
    }

    #[test]
    fn a_context_that_does_not_fit() {
        let demand = Demand { most_nodes: 1, ..Demand::default() };
        insta::assert_snapshot!(of("kimi-k2", None, "h200", &demand));
    }

    #[test]
    fn more_sequences_than_fit() {
        let demand = Demand { most_nodes: 1, sequences: 200, context: Some(32_768), ..Demand::default() };
        let text = of("deepseek-r1", None, "h200", &demand);
        assert!(text.contains("cure:  132 sequences of that length fit here, or more nodes"), "{text}");
        let text = of("deepseek-r1", None, "h200", &Demand { most_nodes: 2, ..demand });
        assert!(text.contains("missing on a rank; 76 sequences would fit"), "{text}");
    }

    #[test]
    fn a_model_with_rules_of_its_own() {
        insta::assert_snapshot!(of("llama-4-maverick", Some("fp8"), "h100", &Demand::default()));
    }

    #[test]
    fn numbers_are_rounded_to_a_tenth() {
        assert_eq!(
            (gb(0), gb(1_949_999_999), gb(1_950_000_000)),
            ("0.0 GB".into(), "1.9 GB".into(), "2.0 GB".into())
        );
        assert_eq!((count(1, "node"), count(0, "node")), ("1 node".into(), "0 nodes".into()));
    }
}
