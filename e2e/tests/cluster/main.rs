//! Tests of Rayfleet on a real cluster.
fn main() {}
