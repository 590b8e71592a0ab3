//! Figures of the planner: `cargo bench -p rayfleet-core --bench figures`. How long a rollout takes against the
//! least that the strategy allows (`-- makespan`), how long one pass over a very large fleet takes (`-- step`), and what it
//! costs for each group to say how soon a status is worth a write (`-- write-delay`).
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints figures, on data of its own"
)]

mod fleet;
mod makespan;
mod step;

fn main() {
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, print) in [
        ("makespan", makespan::print as fn()),
        ("step", step::print),
        ("write-delay", step::print_write_delay),
    ] {
        if chosen.is_empty() || chosen.iter().any(|wanted| wanted == name) {
            print();
            println!();
        }
    }
}
