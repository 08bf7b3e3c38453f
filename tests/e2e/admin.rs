//! The admin interface from outside: HTTP on its sockets, and the commands that use it.

mod access;
mod commands;
mod figures;
mod health;
mod page;
mod scale;
mod silence;
mod stacks;
pub(crate) mod support;
mod top;
