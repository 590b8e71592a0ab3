//! A picture in the terminal. Pure. Ranks wrap at the width; without one they stay on a line.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_cli_kit::table::{Tone, one_line};

use super::picture::{Group, Host, NodeState, Picture, Rank};

/// Where a host's lines begin.
const INDENT: &str = "           ";

/// How it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) wide: bool,
    pub(super) color: bool,
    /// Columns of the terminal.
    pub(super) width: Option<usize>,
}

/// The whole picture.
pub(super) fn text(picture: &Picture, style: Style) -> String {
    let mut parts = vec![format!("{}/{}", one_line(&picture.namespace), one_line(&picture.fleet))];
    parts.extend(picture.model.as_ref().map(|model| format!("model {}", one_line(model))));
    parts.push(count(picture.groups.len(), "group"));
    let mut text = parts.join("  ") + "\n";
    for group in &picture.groups {
        text.push('\n');
        text.push_str(&self::group(group, style));
    }
    if !picture.unknown.is_empty() {
        text.push('\n');
    }
    for why in &picture.unknown {
        text.push_str(&Tone::Faint.paint(&format!("? {}", one_line(why)), style.color));
        text.push('\n');
    }
    text
}

fn group(group: &Group, style: Style) -> String {
    let mut text = headline(group, style.color) + "\n";
    let mut links = group.links.iter();
    for (at, stage) in group.stages.iter().enumerate() {
        if at > 0 {
            let words = links.next().map(|link| one_line(&link.words())).unwrap_or_default();
            text.push_str(&Tone::Faint.paint(&format!("     |     {words}"), style.color));
            text.push('\n');
        }
        for (at, host) in stage.hosts.iter().enumerate() {
            let label = if at == 0 { format!("  {}", stage.name) } else { String::new() };
            text.push_str(&self::host(&label, host, style));
        }
    }
    for (at, host) in group.without_ranks.iter().enumerate() {
        text.push_str(&self::host(if at == 0 { "  no rank" } else { "" }, host, style));
    }
    for trouble in &group.troubles {
        let mark = Tone::Bad.paint("!", style.color);
        text.extend(["  ", &mark, " ", &one_line(trouble), "\n"]);
    }
    text
}

fn headline(group: &Group, color: bool) -> String {
    let tone = match group.phase.as_str() {
        "Ready" => Tone::Good,
        "Failed" => Tone::Bad,
        _ => Tone::Busy,
    };
    let mut parts = vec![one_line(&group.name), tone.paint(&group.phase, color)];
    parts.extend(group.ranks.as_ref().map(|ranks| format!("{ranks} ranks")));
    let hosts = group.stages.iter().flat_map(|stage| &stage.hosts).chain(&group.without_ranks);
    let nodes: BTreeMap<&str, u32> = hosts.map(|host| (host.node.as_str(), host.group_gpus)).collect();
    let sizes: BTreeSet<u32> = nodes.values().copied().collect();
    let gpus = match Vec::from_iter(sizes).as_slice() {
        [] | [0] => String::new(),
        [same] => format!(" x {same} GPU{}", if *same == 1 { "" } else { "s" }),
        _ => format!(", {} GPUs", nodes.values().copied().fold(0, u32::saturating_add)),
    };
    parts.push(count(nodes.len(), "node") + &gpus);
    parts.extend(group.shape());
    parts.join("  ")
}

fn host(label: &str, host: &Host, style: Style) -> String {
    let node = one_line(&host.node);
    let mut parts = vec![match host.state {
        NodeState::Ready | NodeState::Unknown => node,
        NodeState::Leaving => Tone::Busy.paint(&format!("{node} ({})", one_line(&host.says)), style.color),
        NodeState::NotReady | NodeState::Gone => {
            Tone::Bad.paint(&format!("{node} ({})", one_line(&host.says)), style.color)
        }
    }];
    parts.extend(host.has_head.then(|| "head".to_owned()));
    parts.extend(host.domains.iter().map(|it| one_line(&format!("{} {}", it.level, it.value))));
    parts.extend(host.gpus.map(|gpus| format!("{gpus} {}", if gpus == 1 { "GPU" } else { "GPUs" })));
    if style.wide {
        parts.extend(host.gpu_model.as_deref().map(one_line));
        parts.extend(host.pods.iter().map(|pod| format!("pod {}", one_line(pod))));
    }
    let mut text = format!("{label:<width$}{}\n", parts.join("  "), width = INDENT.len());
    let mut ranks: Vec<String> = host.ranks.iter().map(|rank| self::rank(rank, style.color)).collect();
    if ranks.len() > 1 {
        ranks.push(format!(" link {}", host.link));
    }
    let digits = host.ranks.iter().map(|rank| plain(rank).len() + 1).max().unwrap_or(1);
    let room = style.width.map_or(usize::MAX, |width| width.saturating_sub(INDENT.len()).max(1));
    for line in ranks.chunks((room / digits).max(1)) {
        text.extend([INDENT, &line.join(" "), "\n"]);
    }
    text
}

fn plain(rank: &Rank) -> String {
    if rank.is_lost { format!("[{}!]", rank.number) } else { format!("[{}]", rank.number) }
}

fn rank(rank: &Rank, color: bool) -> String {
    if rank.is_lost { Tone::Bad } else { Tone::Good }.paint(&plain(rank), color)
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
