//! What an endpoint's prefix cache is expected to hold: the blocks of prompts that were sent there, as many as it has room for. An
//! estimate: the engine says nothing of it, and other gateways send prompts too.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::prompt::Prompt;

/// Blocks of 256 bytes that are expected to stay, where nothing is known of the engine's memory: a million tokens, twice what 16 H100
/// keep beside Llama 3.1 405B.
const ROOM: usize = 16_384;

/// The blocks of one endpoint, in two generations: what was not used while a whole generation was filled is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    young: Blocks,
    old: Blocks,
}

type Blocks = HashSet<u64, BuildHasherDefault<AsItIs>>;

impl Cache {
    /// Blocks of a prompt that are there, from its beginning. A block is kept no longer than those before it, so that a search by halves
    /// finds the end.
    pub(crate) fn holds(&self, prompt: &Prompt) -> usize {
        prompt.blocks().partition_point(|block| self.young.contains(block) || self.old.contains(block))
    }

    /// A prompt was sent there. Its first blocks are entered last, so that they are forgotten no sooner than what follows them.
    pub(crate) fn add(&mut self, prompt: &Prompt) {
        for block in prompt.blocks().iter().rev() {
            if self.young.len() >= ROOM / 2 && !self.young.contains(block) {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(*block);
        }
    }
}

/// A hash needs no other.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys are `u64`, which come by `write_u64`.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::{BLOCK, PromptHasher};

    fn prompt(name: u32, blocks: usize) -> Prompt {
        let mut hasher = PromptHasher::new(1, b"");
        for _ in 0..blocks {
            hasher.push(&name.to_le_bytes().repeat(BLOCK / 4));
        }
        hasher.finish()
    }

    #[test]
    fn what_was_sent_is_held_as_far_as_prompts_agree() {
        let mut cache = Cache::default();
        cache.add(&prompt(1, 3));
        assert_eq!(cache.holds(&prompt(1, 5)), 3);
        assert_eq!(cache.holds(&prompt(1, 2)), 2);
        assert_eq!(cache.holds(&prompt(2, 2)), 0);
    }

    #[test]
    fn it_is_bounded_and_what_is_used_stays() {
        let mut cache = Cache::default();
        let used = prompt(0, 8);
        for other in 1..20_000 {
            cache.add(&prompt(other, 2));
            if other % 1000 == 0 {
                cache.add(&used);
            }
        }
        assert!(cache.young.len() + cache.old.len() <= ROOM);
        assert_eq!(cache.holds(&used), 8);
        assert_eq!(cache.holds(&prompt(1, 2)), 0);
    }
}
