//! Tells when the config file, or code that `reload.code` names, changed.
//!
//! Nothing that the kernel reports is believed: it only says "look again". That a file was opened or read is no report, or
//! the watcher would wake itself, and an app that reads its templates would put every change of them off. For the config file, what counts is that its content differs from the one that was read last, after it has been quiet for
//! `reload.debounce`; for code, that a file is another one than before. So it does not matter how a change is made: by
//! writing, by renaming over it (editors), by moving a link that is part of its path (Kubernetes swaps `..data`), by git.
//! Should the kernel not tell at all (network file systems, no more watches), the config file is looked at every two
//! seconds.

mod code;
mod config_file;
mod directories;
mod place;
mod touch;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use super::core::Moment;
use crate::config::Reload;
use code::Code;
use config_file::ConfigFile;
use directories::{Directories, Told};
use touch::Touch;

/// How often the config file is looked at without being told to.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the kernel is not listened to after it told of nothing but files that nobody asked for. An app may write to a
/// database beside the config file with every request.
const DEAF_FOR: Duration = Duration::from_millis(50);

/// What changed since the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    Config,
    /// One of the files.
    Code(PathBuf),
    /// What `reload.touch` names.
    Touch,
}

/// Watches the configuration, the code, and the file to touch.
#[derive(Debug)]
pub struct Watcher {
    directories: Directories,
    config: Option<ConfigFile>,
    code: Option<Code>,
    touch: Option<Touch>,
    debounce: Duration,
    next_look: Moment,
    deaf_until: Option<Moment>,
}

impl Watcher {
    /// Takes note of the file's present content, before it is read; watches once [`Watcher::apply`] says how.
    pub fn new(path: Option<&Path>, now: Moment) -> io::Result<Self> {
        Ok(Self {
            directories: Directories::new()?,
            config: path.map(ConfigFile::new),
            code: None,
            touch: None,
            debounce: Duration::ZERO,
            next_look: now + LOOK_EVERY,
            deaf_until: None,
        })
    }

    /// Goes by a configuration; the globs are relative to `chdir`. What was seen of the config file is not forgotten: a
    /// save that is just settling is not lost.
    pub fn apply(&mut self, chdir: &Path, reload: &Reload, now: Moment) {
        self.debounce = reload.debounce;
        if let Some(config) = &mut self.config {
            config.set_watched(reload.watch);
        }
        if self
            .code
            .as_ref()
            .is_none_or(|code| !code.is_of(chdir, &reload.code, &reload.ignore))
        {
            self.code =
                (!reload.code.is_empty()).then(|| Code::new(chdir, &reload.code, &reload.ignore));
        }
        match &reload.touch {
            None => self.touch = None,
            Some(path) if self.touch.as_ref().is_some_and(|touch| touch.is_of(path)) => {}
            Some(path) => self.touch = Some(Touch::new(path)),
        }
        self.watch_directories(now);
    }

    /// Whether no change is being waited out.
    pub fn is_quiet(&self) -> bool {
        self.quiet_at().next().is_none()
    }

    /// Of the content of the config file that was read last, for [`Watcher::resume`].
    pub fn seen(&self) -> Option<u64> {
        self.config.as_ref().and_then(ConfigFile::hash)
    }

    /// Goes on for a watcher of the process before; to be called after [`Watcher::apply`].
    pub fn resume(&mut self, seen: Option<u64>, now: Moment) {
        if let Some(config) = &mut self.config {
            config.resume(seen, now + self.debounce);
        }
    }

    /// To be called before the file is read for another reason: only what changes from now on is a change.
    pub fn config_is_read(&mut self) {
        if let Some(config) = &mut self.config {
            config.is_read();
        }
    }

    /// Whether this is the text of which a change of the config file was told. If not, it is written to right now, and the
    /// change will be told once more.
    pub fn is_what_changed(&mut self, text: &str, now: Moment) -> bool {
        let quiet_at = now + self.debounce;
        let config = self.config.as_mut();
        config.is_none_or(|config| config.is_what_changed(text, quiet_at))
    }

    /// Readable when something may have changed; `None` while nobody is to wait for it.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let is_deaf = self.deaf_until.is_some();
        (!is_deaf).then(|| self.directories.as_fd())
    }

    /// Takes in what the kernel told.
    pub fn on_rung(&mut self, now: Moment) {
        if self.deaf_until.is_some_and(|until| now < until) {
            return;
        }
        let told = self.directories.take();
        let has_told = !told.is_empty();
        for told in told {
            self.on_told(&told, now + self.debounce);
        }
        self.deaf_until = (has_told && self.is_quiet()).then_some(now + DEAF_FOR);
    }

    fn on_told(&mut self, told: &Told, quiet_at: Moment) {
        if let Some(config) = &mut self.config {
            match told {
                Told::File(path) | Told::Directory(path) => config.on_touched(path, quiet_at),
                Told::Lost => config.look(quiet_at),
            }
        }
        if let Some(code) = &mut self.code {
            match told {
                Told::File(path) => code.on_touched(path, quiet_at),
                Told::Directory(path) => code.on_directory_touched(path, quiet_at),
                Told::Lost => code.look(quiet_at),
            }
        }
        if let Some(touch) = &mut self.touch {
            match told {
                Told::File(path) | Told::Directory(path) => touch.on_touched(path, quiet_at),
                Told::Lost => touch.look(quiet_at),
            }
        }
    }

    /// When to call [`Watcher::on_rung`] and [`Watcher::take_changed`] at the latest.
    pub fn deadline(&self) -> Moment {
        let waiting = self.quiet_at().chain(self.deaf_until);
        waiting.fold(self.next_look, Moment::min)
    }

    /// When the changes that are being waited out count.
    fn quiet_at(&self) -> impl Iterator<Item = Moment> {
        let config = self.config.as_ref().and_then(ConfigFile::quiet_at);
        let code = self.code.as_ref().and_then(Code::quiet_at);
        let touch = self.touch.as_ref().and_then(Touch::quiet_at);
        [config, code, touch].into_iter().flatten()
    }

    /// What changed and has been quiet for long enough.
    pub fn take_changed(&mut self, now: Moment) -> Vec<Changed> {
        let is_due = self.quiet_at().fold(self.next_look, Moment::min) <= now;
        if self.next_look <= now {
            self.next_look = now + LOOK_EVERY;
            if let Some(config) = &mut self.config {
                config.look(now + self.debounce);
            }
            if let Some(touch) = &mut self.touch {
                touch.look(now + self.debounce);
            }
        }
        let mut changed = Vec::new();
        if let Some(config) = &mut self.config
            && config.take_changed(now)
        {
            changed.push(Changed::Config);
        }
        let touched = self.code.as_mut().and_then(|code| code.take_changed(now));
        changed.extend(touched.map(Changed::Code));
        let is_touched = |touch: &mut Touch| touch.take_changed(now);
        if self.touch.as_mut().is_some_and(is_touched) {
            changed.push(Changed::Touch);
        }
        if is_due {
            self.watch_directories(now);
        }
        changed
    }

    /// Which there are, and where paths lead, may be another matter since the last time.
    fn watch_directories(&mut self, now: Moment) {
        let config = self.config.iter().flat_map(ConfigFile::directories);
        let code = self.code.iter().flat_map(Code::directories);
        let touch = self.touch.iter().flat_map(Touch::directories);
        let wanted = config.chain(code).chain(touch).collect();
        if self.directories.set(wanted)
            && let Some(code) = &mut self.code
        {
            code.look(now + self.debounce);
        }
    }
}

#[cfg(test)]
mod tests;
