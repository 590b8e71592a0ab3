//! What things are called: addresses, jobs, and ids as Ray makes them, each of these from the seed and the number of those
//! before it: the same run has the same ids.

/// Where an engine answers.
pub(super) type Address = (String, u16);

/// One job of one life of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobKey {
    pub(super) cluster: String,
    pub(super) life: u64,
    pub(super) serial: u64,
}

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

/// Ray's number of a driver's job: four bytes, the least first.
pub(super) fn job_hex(serial: u64) -> String {
    let serial = u32::try_from(serial).unwrap_or(u32::MAX);
    format!("{:08x}", serial.swap_bytes())
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
