//! An engine that batches continuously, reads prompts in chunks, and keeps what it has read as long as it has room. Of the order of Llama 3.1
//! 405B on 16 H100; no real engine was measured for it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::trace::{Asked, BLOCK};

/// Prompt tokens that are read in a second.
const READ: f64 = 12_000.0;
/// A step without prompts, and what each answer adds to it, in seconds.
const STEP: f64 = 0.025;
const EACH: f64 = 0.000_1;
/// Tokens of one step (`max_num_batched_tokens`).
const BATCH: u64 = 2048;
/// Answers at a time (`max_num_seqs`).
const MOST: usize = 256;
/// Tokens that the key-value cache has room for.
const ROOM: u64 = 600_000;

/// A request that has ended. Times in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) number: usize,
    pub(crate) asked: f64,
    pub(crate) first: f64,
    pub(crate) ended: f64,
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
}

#[derive(Debug)]
struct Running {
    done: Done,
    blocks: Vec<u64>,
    /// Prompt tokens that are not read yet, and answer tokens that are not made yet.
    unread: u64,
    unmade: u64,
    holds: u64,
}

/// One engine.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    now: f64,
    waiting: VecDeque<Running>,
    running: Vec<Running>,
    cache: HashMap<u64, u64>,
    oldest: BTreeMap<u64, u64>,
    touches: u64,
    held: u64,
    /// Seconds that it has worked.
    pub(crate) busy: f64,
}

impl Engine {
    pub(crate) fn requests(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    pub(crate) fn add(&mut self, number: usize, asked: &Asked) {
        self.now = self.now.max(if self.requests() == 0 { asked.at } else { self.now });
        let done = Done { number, asked: asked.at, first: 0.0, ended: 0.0, prompt: asked.prompt, cached: 0 };
        let running = Running {
            done,
            blocks: asked.blocks.clone(),
            unread: asked.prompt,
            unmade: asked.answer,
            holds: 0,
        };
        self.waiting.push_back(running);
    }

    /// When its next step ends: then it may be stepped.
    pub(crate) fn next(&self) -> f64 {
        if self.requests() == 0 { f64::INFINITY } else { self.now }
    }

    /// One step: those whose first token it made, and those that it ended.
    #[expect(clippy::cast_precision_loss, reason = "tokens of a step")]
    pub(crate) fn step(&mut self) -> (Vec<usize>, Vec<Done>) {
        self.admit();
        let answering = self.running.iter().filter(|running| running.unread == 0).count();
        let mut left = BATCH.saturating_sub(answering as u64);
        let mut read = 0;
        let mut began = vec![];
        for running in &mut self.running {
            if running.unread == 0 {
                running.unmade -= 1;
                continue;
            }
            let part = running.unread.min(left);
            running.unread -= part;
            left -= part;
            read += part;
            if running.unread == 0 && part > 0 {
                running.unmade -= 1;
                began.push(running.done.number);
            }
        }
        let time = STEP + EACH * answering as f64 + read as f64 / READ;
        self.now += time;
        self.busy += time;
        let now = self.now;
        let mut ended = vec![];
        let mut still = Vec::with_capacity(self.running.len());
        for mut running in std::mem::take(&mut self.running) {
            if began.contains(&running.done.number) {
                running.done.first = now;
                let blocks = std::mem::take(&mut running.blocks);
                blocks.iter().rev().for_each(|block| self.touch(*block));
            }
            if running.unread == 0 && running.unmade == 0 {
                running.done.ended = now;
                self.held -= running.holds;
                ended.push(running.done);
            } else {
                still.push(running);
            }
        }
        self.running = still;
        (began, ended)
    }

    /// Takes in those that wait, in their order, while there is room.
    fn admit(&mut self) {
        while self.running.len() < MOST
            && let Some(first) = self.waiting.front()
        {
            let same = first.blocks.iter().take_while(|block| self.cache.contains_key(block)).count() as u64;
            // The last token is always read, so that there is one to go on from.
            let cached = (same * BLOCK).min(first.done.prompt.saturating_sub(1));
            let holds = first.done.prompt - cached + first.unmade;
            if self.held + holds > ROOM && !self.running.is_empty() {
                return;
            }
            let Some(mut first) = self.waiting.pop_front() else { return };
            first.done.cached = cached;
            first.unread -= cached;
            first.holds = holds;
            self.held += holds;
            let known: Vec<u64> =
                first.blocks.iter().take(usize::try_from(same).unwrap_or(0)).copied().collect();
            known.iter().rev().for_each(|block| self.touch(*block));
            self.running.push(first);
        }
    }

    /// A block was used; the one that was not for the longest time goes where there is no room.
    fn touch(&mut self, block: u64) {
        self.touches += 1;
        if let Some(before) = self.cache.insert(block, self.touches) {
            self.oldest.remove(&before);
        }
        self.oldest.insert(self.touches, block);
        let room = ROOM.saturating_sub(self.held) / BLOCK;
        while self.cache.len() as u64 > room.max(1)
            && let Some((_, gone)) = self.oldest.pop_first()
        {
            self.cache.remove(&gone);
        }
    }
}
