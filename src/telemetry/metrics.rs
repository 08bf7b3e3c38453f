//! Metrics: what the scoreboard counts, as Prometheus and others want to read it. Pure: a [`Snapshot`] in, text out.

mod exposition;
mod families;
mod figures;
mod snapshot;

pub use exposition::Format;
use families::code;
pub use families::render;
pub use figures::{BacklogFigures, Figures, HistogramFigures, WorkerMemory};
pub use snapshot::{Backlog, Memory, Now, Snapshot, Workers};
