//! Classifies Ray's cause of an actor's death: by itself, with its node, or because something else ended it.

/// How a rank died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// By itself.
    ByItself,
    /// With its node.
    WithNode,
    /// The engine, its owner or its placement group ended first.
    TakenDown,
}

/// Texts that Ray 2.46 to 2.60 writes when something else ended the actor.
const TAKEN_DOWN: [&str; 6] = [
    "ray.kill",
    "placement group was removed",
    "owner has died",
    "owner died",
    "all references to the actor were removed",
    "INTENDED",
];

/// Classifies Ray's text. An unknown text counts as a death by itself: reporting one rank too many is better
/// than missing one.
pub(super) fn death(words: &str) -> Death {
    if words.contains("node has died") || words.contains("node was terminated") {
        Death::WithNode
    } else if TAKEN_DOWN.iter().any(|mark| words.contains(mark)) {
        Death::TakenDown
    } else {
        Death::ByItself
    }
}
