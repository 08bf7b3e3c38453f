//! `[hooks]` and `[hooks.commands]`.

use serde::{Deserialize, Serialize};

/// Functions of the user's that are called at certain moments, and commands that are run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    pub post_fork: Option<HookRef>,
    pub worker_init: Option<HookRef>,
    pub worker_exit: Option<HookRef>,
    pub worker_abort: Option<HookRef>,
    pub child_exit: Option<HookRef>,
    pub pre_request: Option<HookRef>,
    pub post_request: Option<HookRef>,
    pub when_ready: Option<HookRef>,
    pub on_exit: Option<HookRef>,
    pub commands: HookCommands,
}

/// Where a hook is: `module:function`; dots descend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRef {
    pub module: String,
    pub function: String,
}

/// Each a program and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCommands {
    pub when_ready: Option<Vec<String>>,
    pub reload_done: Option<Vec<String>>,
    pub reload_failed: Option<Vec<String>>,
    pub rolled_back: Option<Vec<String>>,
    pub worker_died: Option<Vec<String>>,
    pub child_exit: Option<Vec<String>>,
    pub on_exit: Option<Vec<String>>,
}
