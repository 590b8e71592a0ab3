//! What engines report of themselves as metrics, for everybody who reads it: [`text`] finds the samples of some series in a text of
//! Prometheus, [`vllm`] knows the names of vLLM's. Pure: no client, no clock, no decision, nothing that is kept between two reads.
//! Windows over several reads, and the scraper, come with the first reader of each.

pub mod text;
pub mod vllm;
