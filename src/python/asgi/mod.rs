//! ASGI 3, HTTP, WebSocket and lifespan: an asyncio task for each request, in a loop that watches the reactor.
//!
//! Start at [`gateway`] for who calls whom; `exchange` is one request and its response, `run` the coroutine that the task
//! drives, `first_step` how it begins where tasks are dear, `awaitable` what the app awaits. All of it runs in the loop's
//! thread with the interpreter held.

mod awaitable;
mod client;
mod departure;
mod driver;
mod exchange;
mod first_step;
mod frames;
mod gateway;
mod outcome;
mod party;
mod pathsend;
mod piece;
mod request_objects;
mod run;
mod scope;
mod send;
mod socket;
mod waiters;

pub(super) use driver::{Loop, Stage};
