//! An API server in memory. It knows objects and nothing of what they mean.
