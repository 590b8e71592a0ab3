//! Tests of the simulated Ray against recorded answers of real Ray, and against `ray-bridge`'s reading of
//! them.

mod bench;
mod clients;
mod faults;
mod lifecycle;
mod seam;
mod shapes;
mod traps;
mod watch;
