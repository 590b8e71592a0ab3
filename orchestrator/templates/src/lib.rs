//! Which GPUs a model needs: a catalogue of models and GPUs, the arithmetic of memory, and the choice of a shape.
//!
//! Only data and pure functions live here: no client, no clock, no file system. The engine that is reckoned
//! with is vLLM 0.32, which this repository pins (`hack/python/requirements.txt`); its files are named
//! `vllm/...` where a rule of it is followed. Bytes are bytes; GB is 10^9 bytes and GiB 2^30 of them.
//!
//! Not modelled:
//!
//! - context parallelism; expert parallelism within one engine, which moves experts between the ranks of a stage, so
//!   that their sum stays; and with data-parallel engines that share experts (`Demand::data`) the buffers of their
//!   exchange;
//! - speculative decoding and the prediction layers that only it loads, `LoRA`, offloading;
//! - stages that are set by hand (`VLLM_PP_LAYER_PARTITION`);
//! - whether there are kernels of a precision or an attention for a GPU;
//! - pages of caches that vLLM makes larger so that layers of several kinds can share them, but for DeepSeek V4,
//!   where that was measured;
//! - padding of experts in two bytes on B200, B300 and GB200, where vLLM rounds a rank's width up to 128
//!   (`fused_moe/oracle/unquantized.py`): at tensor 8 a third more for Qwen3-235B and GLM-4.6 in BF16;
//! - speed: the smallest shape is not the fastest.
//!
//! What it comes to was held against logs of engines (`tests/measured.rs`): weights are within 0.5 percent, room
//! for the cache is estimated up to 3 GiB too small.

pub mod cache;
pub mod catalogue;
pub mod choose;
pub mod config;
pub mod explain;
mod families;
pub mod gpu;
pub mod index;
pub mod model;
pub mod nodes;
pub mod overhead;
pub mod parameters;
pub mod precision;
pub mod quantization;
pub mod rank;
mod rope;
pub mod shape;
pub mod stages;

pub use catalogue::{Catalogue, Entry};
pub use choose::{Choice, Demand, Fit, choose};
pub use config::ConfigError;
pub use explain::explain;
pub use gpu::Gpu;
pub use model::Model;
pub use rank::RankMemory;
pub use shape::Shape;
