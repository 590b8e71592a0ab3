//! What proves Rayfleet on a real cluster: a load generator that loses nothing from sight, a view of a
//! fleet as its users have it, and the main job that the quickstart shows and the tests assert.

pub mod clock;
pub mod cluster;
pub mod company;
pub mod console;
pub mod demo;
pub mod examples;
pub mod load;
pub mod test_filter;
