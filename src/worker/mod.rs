//! The worker's reactor and its threads: sockets, buffers, deadlines, draining. It knows no Python.
//!
//! Start at [`Crew`] for who runs when, at [`Reactor`] for what happens to a connection, at LIFECYCLE.md for its stages.

mod acceptor;
mod access;
mod body;
mod connection;
mod crew;
mod exclude;
mod forwarding;
mod health;
mod held;
mod hub;
mod live;
mod lobby;
pub mod open_files;
mod output;
mod peer;
mod reactor;
mod request_id;
mod seat;
mod settings;
mod slow;
mod spool;
mod station;
mod table;
mod timers;
mod wall_clock;

pub use acceptor::{Acceptor, Listener};
pub use access::{Answered, log_answered, peer_text, remote_address};
pub use body::Body;
pub use connection::{Arrival, Connection};
pub use crew::{Crew, Interpreter, Next};
pub use exclude::Excluded;
pub use forwarding::Forwarding;
pub use hub::{Hub, Leaving};
pub use live::Live;
pub use lobby::Lobby;
pub use output::{Payload, Sent};
pub use peer::{Introduction, Peer};
pub use reactor::Reactor;
pub use request_id::{MADE_DIGITS, RequestId, RequestIds};
pub use seat::Seat;
pub use settings::{Settings, websocket_grace};
pub use slow::SlowRequests;
pub use station::{Equipment, Station};
