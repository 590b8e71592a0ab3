//! Ids as Ray makes them, each from the seed and the number of those before it: the same run has the same ids.

/// Makes ids.
#[derive(Debug)]
pub(super) struct Ids {
    seed: u64,
    made: u64,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, made: 0 }
    }

    /// A number that no other thing has.
    pub(super) fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// So many hexadecimal digits that no other thing has.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        // Neighbours must not look alike, as ids are read by their first digits.
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
