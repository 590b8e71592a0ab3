//! What engines report of themselves as metrics, for everybody who reads it: [`text`] finds the samples of some series in a text of
//! Prometheus, [`vllm`] knows the names of vLLM's, [`load`] what an engine does between two readings, with quantiles of a [`histogram`],
//! and [`ray`] the GPUs of a Ray node. Pure: no client, no clock, no decision, nothing that is kept between two reads. The scraper comes
//! with its first reader.

pub mod histogram;
pub mod load;
pub mod ray;
pub mod text;
pub mod vllm;
