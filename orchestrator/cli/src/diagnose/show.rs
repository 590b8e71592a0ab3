//! Steps as text and as a document. No conclusions here.

use rayfleet_cli_kit::table::{Tone, one_line};
use serde_json::{Value, json};

use super::finding::{Finding, Link, State, Step};
use super::judge;

/// Said below everything else.
const CUT: &str = "
not everything was read: time, a bound or an error of the API server was in the way (lines with ?)
cure:  ask for one fleet or namespace, or give it longer with --request-timeout
";

/// The steps of the cluster, then those of each fleet, each with what is wrong first of all behind them.
/// `cut`: not everything was read.
pub(super) fn text(steps: &[Step], cut: bool, color: bool) -> String {
    let first = judge::first(steps);
    // Of many fleets those that are well have a line each.
    let many = steps.iter().filter(|step| step.link == Link::Control).count() > 1;
    let is_well = |step: &Step| !first.iter().any(|(fleet, _)| *fleet == step.fleet.as_deref());
    let left_out = |step: &&Step| many && step.fleet.is_some() && step.link != Link::Now && is_well(step);
    let mut text = String::new();
    let mut fleet = None;
    let shown = |text: &mut String, of: Option<&str>| {
        for (_, finding) in first.iter().filter(|(fleet, _)| *fleet == of) {
            text.push_str(&wrong(finding, color));
        }
    };
    for step in steps.iter().filter(|step| !left_out(step)) {
        if step.fleet != fleet {
            shown(&mut text, fleet.as_deref());
            fleet.clone_from(&step.fleet);
            let key = one_line(step.fleet.as_deref().unwrap_or_default());
            text.extend(["\n", &*key, "\n"]);
        }
        text.push_str(&line(step, color));
    }
    shown(&mut text, fleet.as_deref());
    if cut {
        text.push_str(CUT);
    }
    text
}

fn line(step: &Step, color: bool) -> String {
    let (mark, tone) = match step.state {
        State::Ok => ("ok", Tone::Good),
        State::Waits => ("wait", Tone::Busy),
        State::Unknown => ("?", Tone::Faint),
        State::Wrong => ("FAIL", Tone::Bad),
    };
    format!(
        "{}  {:<13} {}\n",
        tone.paint(&format!("{mark:<4}"), color),
        step.link.title(),
        one_line(&step.says)
    )
}

/// In the form of every error, with the evidence below.
fn wrong(finding: &Finding, color: bool) -> String {
    let mut text = format!(
        "\n{} {}\ncure:  {}\n",
        Tone::Bad.paint("error:", color),
        one_line(&finding.what),
        one_line(&finding.cure)
    );
    text.extend(finding.evidence.iter().map(|line| format!("       - {}\n", one_line(line))));
    text
}

/// The document of `-o json` and `-o yaml`.
pub(super) fn document(steps: &[Step], cut: bool) -> Value {
    let findings: Vec<Value> = judge::first(steps)
        .into_iter()
        .map(|(fleet, finding)| json!({"fleet": fleet, "finding": finding}))
        .collect();
    json!({"wrong": !findings.is_empty(), "cut": cut, "first": findings, "steps": steps})
}
