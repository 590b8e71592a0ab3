//! The planner against a small simulation of groups: scenarios that a person can follow, and properties
//! over random fleets, spec changes, faults and crashes.

mod adoption;
mod avoid;
mod plans;
mod properties;
mod scenarios;
mod sim;
mod sim_group;
