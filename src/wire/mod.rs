//! What the arbiter, the generations and the workers say to each other: messages over a socket between arbiter and
//! generation, the scoreboard, shared memory that workers write and the arbiter reads, and the live page, the other way round.

mod channel;
mod counters;
mod descriptors;
mod gauges;
mod in_flight;
mod last_words;
mod live;
mod message;
mod page;
mod samples;
mod scoreboard;
mod server_counts;
mod stack_sheet;

pub use channel::{ArbiterEnd, ChannelError, End, GenerationEnd, Message, Received, channel};
pub use counters::{
    BUCKETS_NS, Count, Counters, Distribution, Histogram, METHODS, REFUSALS, STATUS_CLASSES,
    STATUSES, Totals,
};
pub use descriptors::{ForkDescriptors, StartDescriptors};
pub use gauges::Gauges;
pub use in_flight::{InFlight, PATH_SHOWN_MAX};
pub use last_words::{LastWords, crash_in};
pub use live::{LIVE_BYTES_MAX, LIVE_SIGNAL, LiveError, LivePage, LiveView, LogDescriptors, Taken};
pub use message::{
    EXIT_SICK, FORMAT, FromGeneration, ListenerAddress, PassedListener, ToGeneration,
    WorkerSettings,
};
pub use samples::{SAMPLES, Samples};
pub use scoreboard::{IN_FLIGHT_SHOWN_MAX, SLOTS_MAX, Scoreboard, Slot, WorkerState};
pub use server_counts::{LogCount, ReloadOutcome, ServerCounts, WorkerEnd};
pub use stack_sheet::{Lease, StackSheet};
