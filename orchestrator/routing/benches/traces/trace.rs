//! Recorded requests: when, how long, and which blocks of 512 tokens their prompts are made of.

use std::error::Error;
use std::path::Path;

/// Tokens of a block, as Mooncake has it.
pub(crate) const BLOCK: u64 = 512;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Seconds since the first.
    pub(crate) at: f64,
    /// Blocks of its prompt, the last of which may be a part.
    pub(crate) blocks: Vec<u64>,
    /// Tokens of its prompt.
    pub(crate) prompt: u64,
    /// Tokens of its answer.
    pub(crate) answer: u64,
}

/// Reads a trace.
pub(crate) fn read(file: &Path, speed: f64) -> Result<Vec<Asked>, Box<dyn Error>> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut asked =
        if file.extension().is_some_and(|name| name == "jsonl") { mooncake(&text)? } else { azure(&text)? };
    asked.sort_by(|one, other| one.at.total_cmp(&other.at));
    let begin = asked.first().map_or(0.0, |first| first.at);
    for request in &mut asked {
        request.at = (request.at - begin) / speed;
    }
    Ok(asked)
}

fn mooncake(text: &str) -> Result<Vec<Asked>, Box<dyn Error>> {
    let read = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let number = |name: &str| line[name].as_u64().ok_or_else(|| format!("no {name}"));
        let blocks = line["hash_ids"].as_array().ok_or("no hash_ids")?;
        Ok(Asked {
            at: line["timestamp"].as_f64().ok_or("no timestamp")? / 1000.0,
            blocks: blocks.iter().filter_map(serde_json::Value::as_u64).collect(),
            prompt: number("input_length")?,
            answer: number("output_length")?.max(1),
        })
    };
    text.lines().map(read).collect()
}

/// Prompts of lengths alone: each is of blocks that no other has.
fn azure(text: &str) -> Result<Vec<Asked>, Box<dyn Error>> {
    let mut next = 0;
    let mut read = |line: &str| {
        let mut parts = line.split(',');
        let (at, prompt, answer) = (parts.next(), parts.next(), parts.next());
        let (prompt, answer): (u64, u64) =
            (prompt.ok_or("no prompt")?.parse()?, answer.ok_or("no answer")?.trim().parse()?);
        let blocks = (next..next + prompt.div_ceil(BLOCK)).collect();
        next += prompt.div_ceil(BLOCK);
        Ok(Asked { at: seconds(at.ok_or("no time")?)?, blocks, prompt, answer: answer.max(1) })
    };
    text.lines().skip(1).map(&mut read).collect()
}

/// Seconds of a day from `2023-11-16 18:15:46.6805900`, or milliseconds as a number.
fn seconds(text: &str) -> Result<f64, Box<dyn Error>> {
    let Some((_, time)) = text.split_once(' ') else { return Ok(text.parse::<f64>()? / 1000.0) };
    time.split(':').try_fold(0.0, |sum, part| Ok(sum * 60.0 + part.parse::<f64>()?))
}
