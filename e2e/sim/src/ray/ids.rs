//! Ids as Ray makes them, derived from the seed and a counter: the same run has the same ids.

#[derive(Debug)]
pub(super) struct Ids {
    seed: u64,
    made: u64,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, made: 0 }
    }

    /// A number that was not given before.
    pub(super) fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// `digits` hexadecimal digits that were not given before.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        // Successive ids must differ in their first digits, because people read ids by those.
        let mut random =
            fastrand::Rng::with_seed(self.seed ^ self.number().wrapping_mul(0x9E37_79B9_7F4A_7C15));
        (0..digits).filter_map(|_| char::from_digit(random.u32(0..16), 16)).collect()
    }

    /// A process number.
    pub(super) fn pid(&mut self) -> u64 {
        300 + self.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_the_seed_and_differ() {
        let make = |seed| {
            let mut ids = Ids::new(seed);
            [ids.hex(56), ids.hex(56)]
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        let [first, second] = make(1).map(|id| id.chars().take(8).collect::<String>());
        assert_ne!(first, second);
    }
}
