//! A picture as one SVG file: no script, no font and no file beside it. Every text is cleaned and escaped. Colours follow the reader's
//! light or dark scheme, and no meaning hangs on colour alone. Pure.

use std::fmt::Write as _;

use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

use super::picture::{Group, Host, Picture, Stage};

/// Sizes in user units, which browsers show as pixels.
const MARGIN: usize = 16;
const HEAD: usize = 56;
const BOX: usize = 272;
const GAP: usize = 152;
const LINE: usize = 18;
/// A rank's square, and how many are in a row.
const CELL: (usize, usize) = (32, 26);
const IN_ROW: usize = 8;
/// Longest texts in a box, between boxes, and on a line of a group, in bytes. About seven units are a letter.
const IN_BOX: usize = 36;
const BETWEEN: usize = 22;
const ON_LINE: usize = 160;

const STYLE: &str = "\
text{font:13px ui-sans-serif,system-ui,sans-serif;fill:#1f2328}\
.t{font-weight:600;font-size:16px}.g{font-weight:600;font-size:14px}.s{fill:#59636e;font-size:12px}\
.r{text-anchor:middle;font-size:12px}.m{text-anchor:middle}.bad{fill:#b3261e}\
.bg{fill:#fff}.box{fill:#f6f8fa;stroke:#8c959f}.warn{stroke:#9a6700;stroke-width:2}\
.down{stroke:#b3261e;stroke-width:2;stroke-dasharray:5 3}\
.ok{fill:#dafbe1;stroke:#1a7f37}.lost{fill:#ffebe9;stroke:#b3261e;stroke-dasharray:3 2}.l{stroke:#59636e;fill:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9da7b1}.bad{fill:#ff8a80}.bg{fill:#0d1117}\
.box{fill:#161b22;stroke:#6e7681}.warn{stroke:#d29922}.down{stroke:#ff8a80}\
.ok{fill:#12361f;stroke:#3fb950}.lost{fill:#3d1417;stroke:#ff8a80}.l{stroke:#9da7b1}}";

/// The file.
pub(super) fn svg(picture: &Picture) -> String {
    let title = format!("Map of fleet {}/{}", picture.namespace, picture.fleet);
    let mut body = String::new();
    let mut y = MARGIN + 20;
    put(&mut body, ("t", MARGIN, y), &heading(picture), ON_LINE);
    y += LINE;
    for group in &picture.groups {
        y = self::group(&mut body, group, y + LINE);
    }
    for why in &picture.unknown {
        y += LINE;
        put(&mut body, ("s", MARGIN, y), &format!("? {why}"), ON_LINE);
    }
    let stages = picture.groups.iter().map(|group| columns(group).len()).max().unwrap_or(1).max(2);
    let (width, height) = (2 * MARGIN + stages * BOX + (stages - 1) * GAP, y + MARGIN);
    let (title, about) = (escape(&title), escape(&description(picture)));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"title desc\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n<title id=\"title\">{title}</title>\n\
         <desc id=\"desc\">{about}</desc>\n<style>{STYLE}</style>\n<rect class=\"bg\" width=\"{width}\" \
         height=\"{height}\"/>\n{body}</svg>\n"
    )
}

fn heading(picture: &Picture) -> String {
    let model = picture.model.as_ref().map_or_else(String::new, |model| format!("  model {model}"));
    format!("{}/{}{model}", picture.namespace, picture.fleet)
}

/// What a reader of screens is to hear: every group with its stages, nodes and ranks.
fn description(picture: &Picture) -> String {
    let groups = picture.groups.iter().map(|group| {
        let stages = group.stages.iter().map(|stage| {
            let hosts = stage.hosts.iter().map(|host| {
                let ranks: Vec<String> = host.ranks.iter().map(|rank| rank.number.to_string()).collect();
                let says =
                    if host.says.is_empty() { String::new() } else { format!(", which {}", host.says) };
                format!("node {}{says}, ranks {}", host.node, ranks.join(" "))
            });
            format!("{} on {}", stage.name, hosts.collect::<Vec<_>>().join(" and "))
        });
        let links = group.stages.windows(2).zip(&group.links).filter_map(|(pair, link)| {
            let to = &pair.last()?.name;
            let to = to.strip_prefix("stage ").unwrap_or(to);
            Some(format!("{} to {to}: {}", pair.first()?.name, link.words()))
        });
        let all = stages.chain(links).chain(group.troubles.iter().cloned());
        let all: Vec<String> =
            std::iter::once(format!("Group {} is {}", group.name, group.phase)).chain(all).collect();
        all.join("; ") + "."
    });
    groups.collect::<Vec<_>>().join(" ")
}

/// A column for each stage, and one for nodes without ranks.
fn columns(group: &Group) -> Vec<(String, Vec<&Host>)> {
    let stage = |stage: &Stage| stage.name.clone();
    let mut columns: Vec<(String, Vec<&Host>)> =
        group.stages.iter().map(|it| (stage(it), it.hosts.iter().collect())).collect();
    if !group.without_ranks.is_empty() {
        columns.push(("no rank".to_owned(), group.without_ranks.iter().collect()));
    }
    columns
}

/// Draws a group below `y` and returns where it ends.
fn group(body: &mut String, group: &Group, y: usize) -> usize {
    let ranks = group.ranks.as_ref().map_or_else(String::new, |ranks| format!("  {ranks} ranks"));
    let shape = group.shape().map_or_else(String::new, |shape| format!("  {shape}"));
    put(body, ("g", MARGIN, y + LINE), &format!("{}  {}{ranks}{shape}", group.name, group.phase), ON_LINE);
    let top = y + HEAD;
    let mut end = y + LINE;
    for (column, (label, hosts)) in columns(group).into_iter().enumerate() {
        let x = MARGIN + column * (BOX + GAP);
        put(body, ("s", x, top - 8), &label, IN_BOX);
        let mut below = top;
        for host in hosts {
            below = self::host(body, host, (x, below)) + 8;
        }
        if let Some(link) = group.links.get(column) {
            arrow(body, &link.words(), (x + BOX, top + 2 * LINE));
        }
        end = end.max(below);
    }
    for trouble in &group.troubles {
        end += LINE;
        put(body, ("bad", MARGIN, end), &format!("! {trouble}"), ON_LINE);
    }
    end
}

fn arrow(body: &mut String, words: &str, (x, y): (usize, usize)) {
    let (end, middle) = (x + GAP - 6, x + GAP / 2);
    let _ = writeln!(body, "<path class=\"l\" d=\"M{} {y}H{end}m-6 -4l6 4l-6 4\"/>", x + 6);
    put(body, ("s m", middle, y - 8), words, BETWEEN);
}

/// Draws a host and returns where it ends.
fn host(body: &mut String, host: &Host, (x, y): (usize, usize)) -> usize {
    let rows = host.ranks.len().div_ceil(IN_ROW);
    let says = usize::from(!host.says.is_empty());
    let height = 3 * LINE + says * LINE + rows * CELL.1 + 6;
    let class = match host.state {
        _ if host.state.is_down() => "box down",
        _ if says > 0 => "box warn",
        _ => "box",
    };
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{BOX}\" height=\"{height}\" rx=\"6\"/>"
    );
    let mut at = y + LINE;
    put(body, ("", x + 8, at), &host.node, IN_BOX);
    if says > 0 {
        at += LINE;
        put(body, ("bad", x + 8, at), &host.says, IN_BOX);
    }
    at += LINE;
    let domains: Vec<String> = host.domains.iter().map(|it| format!("{} {}", it.level, it.value)).collect();
    put(body, ("s", x + 8, at), &domains.join(", "), IN_BOX);
    at += LINE;
    let gpus = host.gpus.map_or_else(|| "GPUs unknown".to_owned(), |gpus| format!("{gpus} GPUs"));
    let model = host.gpu_model.as_ref().map_or_else(String::new, |model| format!(", {model}"));
    let link = if host.ranks.len() > 1 { format!(", link {}", host.link) } else { String::new() };
    put(body, ("s", x + 8, at), &format!("{gpus}{link}{model}"), IN_BOX);
    for (number, rank) in host.ranks.iter().enumerate() {
        let (left, up) = (x + 8 + number % IN_ROW * CELL.0, at + 8 + number / IN_ROW * CELL.1);
        let (class, mark) = if rank.is_lost { ("lost", "!") } else { ("ok", "") };
        let _ = writeln!(
            body,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{up}\" width=\"{}\" height=\"{}\" rx=\"3\"/>",
            CELL.0 - 4,
            CELL.1 - 4
        );
        put(body, ("r", left + CELL.0 / 2 - 2, up + 15), &format!("{}{mark}", rank.number), IN_BOX);
    }
    y + height
}

/// A text; all of it as a tooltip if it is cut.
fn put(body: &mut String, (class, x, y): (&str, usize, usize), text: &str, most: usize) {
    let text = one_line(text);
    if text.is_empty() {
        return;
    }
    let short = cut(&text, most);
    let whole = if short == text { String::new() } else { format!("<title>{}</title>", escape(&text)) };
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = writeln!(body, "<text{class} x=\"{x}\" y=\"{y}\">{whole}{}</text>", escape(&short));
}

/// A text within XML. Characters that XML does not allow, or that nobody sees, are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in one_line(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // None of XML; of no width; of the direction of writing.
            '\u{fffe}'
            | '\u{ffff}'
            | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_does_not_allow_never_gets_in() {
        assert_eq!(
            escape("<a href='x'>&\"\u{1b}[2J\0\u{ffff}\u{202e}b"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot; [2J b"
        );
        let mut body = String::new();
        put(&mut body, ("", 1, 2), "<script>alert(1)</script> of a name that is far too long", 12);
        assert_eq!(
            body,
            "<text x=\"1\" y=\"2\"><title>&lt;script&gt;alert(1)&lt;/script&gt; of a name that is far too \
             long</title>&lt;script&gt;a…</text>\n"
        );
    }
}
