//! Figures of the planner: `cargo bench -p rayfleet-core --bench figures`. How long a rollout takes against the
//! least that the strategy allows, and how long one pass over a very large fleet takes.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints figures, on data of its own"
)]

mod fleet;
mod makespan;
mod step;

fn main() {
    makespan::print();
    println!();
    step::print();
}
