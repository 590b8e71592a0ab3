//! A prompt as a chain of hashes, one for each block of its bytes: two prompts that begin alike have the same first hashes, and a hash
//! says all that comes before it.

use twox_hash::XxHash3_64;

/// Bytes of a block. vLLM keeps blocks of 16 tokens by default, some 64 bytes of English; four of them tell nearly as much for a quarter
/// of the hashes.
pub(crate) const BLOCK: usize = 256;
/// Blocks of one prompt that are looked at, half a mebibyte: the 128 Ki tokens that most models are served with.
const MOST: usize = 2048;
/// Bytes of all of them.
const LONGEST: u64 = (MOST * BLOCK) as u64;
/// Bytes in a token, for lengths that nobody has counted: English by the tokenizers of Llama 3 and DeepSeek has some four.
const BYTES_IN_TOKEN: u64 = 4;

/// A prompt, as far as routing looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    blocks: Vec<u64>,
    bytes: u64,
}

impl Prompt {
    /// Tokens of its first blocks.
    pub(crate) fn tokens_of(&self, blocks: usize) -> u64 {
        if blocks == self.blocks.len() && blocks > 0 {
            // What is behind the last whole block is little.
            return self.tokens();
        }
        u64::try_from(blocks.saturating_mul(BLOCK)).unwrap_or(u64::MAX) / BYTES_IN_TOKEN
    }

    /// Hashes of its whole blocks, first to last.
    pub(crate) fn blocks(&self) -> &[u64] {
        &self.blocks
    }

    /// Its length in tokens, estimated, of as much as is looked at: a picture within it is many bytes and few tokens.
    pub fn tokens(&self) -> u64 {
        self.bytes.div_ceil(BYTES_IN_TOKEN)
    }
}

/// Makes a [`Prompt`] of what comes piece by piece.
#[derive(Debug)]
pub struct PromptHasher {
    before: u64,
    block: Vec<u8>,
    prompt: Prompt,
}

impl PromptHasher {
    /// `seed` is a secret of the process: prompts are written by strangers, who could make up others with the same hashes. `scope` is
    /// all else that two prompts must have in common to share a cache: model, adapter, the request's own salt.
    pub fn new(seed: u64, scope: &[u8]) -> Self {
        let before = XxHash3_64::oneshot_with_seed(seed, scope);
        Self { before, block: Vec::with_capacity(BLOCK), prompt: Prompt::default() }
    }

    /// Adds what comes next.
    pub fn push(&mut self, mut piece: &[u8]) {
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.prompt.bytes = self.prompt.bytes.saturating_add(bytes).min(LONGEST);
        while !piece.is_empty() && self.prompt.blocks.len() < MOST {
            let (next, rest) = piece.split_at(piece.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(next);
            piece = rest;
            if self.block.len() == BLOCK {
                self.before = XxHash3_64::oneshot_with_seed(self.before, &self.block);
                self.prompt.blocks.push(self.before);
                self.block.clear();
            }
        }
    }

    /// The prompt. What is left of a block that is not full counts as bytes alone: engines share whole blocks too.
    pub fn finish(self) -> Prompt {
        self.prompt
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prompt(text: &[u8]) -> Prompt {
        let mut hasher = PromptHasher::new(7, b"model");
        hasher.push(text);
        hasher.finish()
    }

    #[test]
    fn prompts_that_begin_alike_share_the_first_blocks_and_no_others() {
        let text = |last: u8| [vec![b'a'; 2 * BLOCK], vec![last; BLOCK], vec![b'c'; BLOCK]].concat();
        let (one, other) = (prompt(&text(b'x')), prompt(&text(b'y')));
        assert_eq!(one.blocks()[..2], other.blocks()[..2]);
        // The fourth block is of the same bytes, behind others.
        assert_ne!(one.blocks()[3], other.blocks()[3]);
        assert_eq!(one.tokens(), 256);
    }

    #[test]
    fn another_scope_shares_nothing() {
        let mut other = PromptHasher::new(7, b"model with an adapter");
        other.push(&[b'a'; BLOCK]);
        assert_ne!(other.finish().blocks(), prompt(&[b'a'; BLOCK]).blocks());
    }

    #[test]
    fn a_prompt_of_any_length_costs_a_bounded_number_of_hashes() {
        let long = prompt(&vec![b'a'; 3 * MOST * BLOCK]);
        assert_eq!(long.blocks().len(), MOST);
        assert_eq!(long.tokens(), 64 * 2048);
    }

    proptest! {
        /// However a text is cut into pieces, it is the same prompt.
        #[test]
        fn pieces_make_the_same_prompt(text in prop::collection::vec(any::<u8>(), 0..2000), cut in 0_usize..2000) {
            let (first, rest) = text.split_at(cut.min(text.len()));
            let mut hasher = PromptHasher::new(7, b"model");
            hasher.push(first);
            hasher.push(rest);
            prop_assert_eq!(hasher.finish(), prompt(&text));
        }
    }
}
