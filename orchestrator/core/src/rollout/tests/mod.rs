//! The planner against a small simulation of groups: scenarios that a person can follow, and properties
//! over random fleets, spec changes, faults and crashes.

mod adoption;
mod avoid;
mod model;
mod partition;
mod plans;
mod properties;
mod rollback;
mod scenarios;
mod sim;
mod sim_group;
mod words;
