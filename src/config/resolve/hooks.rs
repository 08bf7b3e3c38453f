//! `[hooks]`: references are taken apart, commands become lists of words.

use super::Resolver;
use crate::config::{
    HookCommands, HookRef, Hooks,
    file::{self, Texts},
};

impl Resolver<'_> {
    pub(super) fn hooks(&mut self, hooks: file::Hooks) -> Hooks {
        Hooks {
            post_fork: self.hook("post_fork", hooks.post_fork),
            worker_init: self.hook("worker_init", hooks.worker_init),
            worker_exit: self.hook("worker_exit", hooks.worker_exit),
            worker_abort: self.hook("worker_abort", hooks.worker_abort),
            child_exit: self.hook("child_exit", hooks.child_exit),
            pre_request: self.hook("pre_request", hooks.pre_request),
            post_request: self.hook("post_request", hooks.post_request),
            when_ready: self.hook("when_ready", hooks.when_ready),
            on_exit: self.hook("on_exit", hooks.on_exit),
            commands: self.hook_commands(hooks.commands),
        }
    }

    fn hook(&mut self, name: &str, written: Option<String>) -> Option<HookRef> {
        match HookRef::parse(&written?) {
            Ok(hook) => Some(hook),
            Err((reason, help)) => {
                let title = format!("`hooks.{name}` {reason}");
                self.problem(&format!("/hooks/{name}"), title, "", help);
                None
            }
        }
    }

    fn hook_commands(&mut self, commands: file::HookCommands) -> HookCommands {
        HookCommands {
            when_ready: self.hook_command("when_ready", commands.when_ready),
            reload_done: self.hook_command("reload_done", commands.reload_done),
            reload_failed: self.hook_command("reload_failed", commands.reload_failed),
            rolled_back: self.hook_command("rolled_back", commands.rolled_back),
            worker_died: self.hook_command("worker_died", commands.worker_died),
            child_exit: self.hook_command("child_exit", commands.child_exit),
            on_exit: self.hook_command("on_exit", commands.on_exit),
        }
    }

    /// A lone text with spaces is a line for a shell, which there is none of.
    fn hook_command(&mut self, name: &str, written: Option<Texts>) -> Option<Vec<String>> {
        let words = written?.0;
        let is_line = matches!(&words[..], [line] if line.contains(char::is_whitespace));
        let has_nul = words.iter().any(|word| word.contains('\0'));
        if is_line || has_nul {
            let title = match has_nul {
                true => format!("`hooks.commands.{name}` has a NUL character"),
                false => format!("`hooks.commands.{name}` is a line, and there is no shell"),
            };
            let list: Vec<&str> = words.iter().flat_map(|w| w.split_whitespace()).collect();
            let help = is_line.then(|| format!("write a list: `{list:?}`"));
            self.problem(&format!("/hooks/commands/{name}"), title, "", help);
            return None;
        }
        Some(words)
    }
}
