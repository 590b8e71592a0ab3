//! `rayfleet-sim`: runs the simulation from a shell.

mod command;

use std::process::ExitCode;

use clap::Parser;

use self::command::Arguments;

/// A run allocates and frees millions of small objects: the system's allocator takes a third of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command::run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            command::print_error(&error);
            ExitCode::from(2)
        }
    }
}
