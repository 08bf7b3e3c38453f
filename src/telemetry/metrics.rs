//! Metrics: what the scoreboard counts, as Prometheus and others want to read it. Pure: a [`Snapshot`] in, text out.

mod exposition;
mod families;
mod snapshot;

pub use exposition::Format;
pub use families::render;
pub use snapshot::{Backlog, Memory, Now, Snapshot, Workers};
