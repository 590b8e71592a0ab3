//! What Ray's words on an actor's death mean: did it die by itself, with its node, or was it taken down after another.

/// How a rank died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// Nobody took it down.
    ByItself,
    /// Its node died.
    WithNode,
    /// The engine, its owner or its placement group went first.
    TakenDown,
}

/// Texts that Ray 2.46 to 2.60 write when something else ended the actor.
const TAKEN_DOWN: [&str; 6] = [
    "ray.kill",
    "placement group was removed",
    "owner has died",
    "owner died",
    "all references to the actor were removed",
    "INTENDED",
];

/// Reads Ray's words. Words of an unknown kind are a death of its own: better to look at a rank too many.
pub(super) fn death(words: &str) -> Death {
    if words.contains("node has died") || words.contains("node was terminated") {
        Death::WithNode
    } else if TAKEN_DOWN.iter().any(|mark| words.contains(mark)) {
        Death::TakenDown
    } else {
        Death::ByItself
    }
}
