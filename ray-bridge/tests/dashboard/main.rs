//! The dashboard's client against recorded replies of Ray, and every pitfall of its REST API that was met on
//! real clusters.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

#[path = "../common/mod.rs"]
mod common;
mod health;
mod jobs;
mod logs;
mod old_ray;
mod replies;
mod table;
mod tokens;
