//! End-to-end tests of Rayfleet on a real cluster: a load generator that accounts for every request, a view
//! of a fleet as its users see it, and the main use case that the quickstart shows and the tests assert.

pub mod changes;
pub mod clock;
pub mod cluster;
pub mod concurrency;
pub mod console;
pub mod demo;
pub mod examples;
pub mod load;
pub mod test_filter;
