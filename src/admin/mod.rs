//! The admin interface: HTTP and JSON for people and tools that watch and steer the server.
//!
//! It has one thread of its own in the arbiter's process, so that the arbiter neither parses HTTP nor waits for a client,
//! and is asked even while all workers are busy. The arbiter's shell publishes a [`View`] whenever something changed; what
//! changes with every request is read from the scoreboard. What a client wants done is an [`Order`], which waits until the
//! shell takes it and gives its [`Answer`].
//!
//! To add a route, write its handler into a file of its own and a line into `route::ROUTES`.

#![forbid(unsafe_code)]

mod backlogs;
mod config;
mod connection;
mod control;
mod events;
mod guard;
mod health;
mod link;
mod metrics;
mod page;
mod progress;
mod query;
mod reply;
mod request;
mod route;
mod server;
mod situation;
mod stacks;
mod status;
mod view;

pub use backlogs::Backlogs;
pub use events::Event;
pub use link::{Admin, Answer, Answers, Door, DoorKind, Order, Policy, Ticket};
pub use status::{GenerationStatus, ReloadStatus, RequestStatus, Status, WorkerStatus};
pub use view::{
    Generation, GenerationState, Listener, Outcome, Reload, ScaleFailure, ServerState, Upgrade,
    View, Worker, WorkerState,
};
