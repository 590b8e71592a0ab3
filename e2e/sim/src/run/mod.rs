//! One run: a scenario, faults, the trace, and the oracle that judges it.
