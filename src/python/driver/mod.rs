//! Who turns the reactor and calls the app: threads of the worker's own, or greenlets in the hub of their library.

pub(super) mod app_exit;
pub(super) mod greenlets;
pub(super) mod loop_watch;
pub(super) mod threads;
