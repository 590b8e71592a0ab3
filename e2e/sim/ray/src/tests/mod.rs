//! The simulated Ray held to what the real one answers, and to what `ray-bridge` makes of it.

mod bench;
mod clients;
mod faults;
mod lifecycle;
mod seam;
mod shapes;
mod traps;
