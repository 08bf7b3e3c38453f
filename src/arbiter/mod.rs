//! The arbiter: policy in `core`, a shell around it that obeys.

pub mod core;
