//! A second listener to what this process tells its error log, whatever the log's level and target.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::config::LogLevel;

/// Gets the level, the line and the text below it.
pub type Tap = Box<dyn Fn(LogLevel, &str, &str) + Send + Sync>;

static TAP: RwLock<Option<Tap>> = RwLock::new(None);
/// Whether there is one: asked for every line, also where the log would not write it.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// From now on `tap` hears every line. It must not write to the log itself.
pub fn open_tap(tap: Tap) {
    *TAP.write().unwrap_or_else(PoisonError::into_inner) = Some(tap);
    IS_OPEN.store(true, Relaxed);
}

pub fn close_tap() {
    if IS_OPEN.swap(false, Relaxed) {
        *TAP.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

pub(super) fn hear(level: LogLevel, message: std::fmt::Arguments<'_>, text_below: &str) {
    if !IS_OPEN.load(Relaxed) {
        return;
    }
    if let Some(tap) = &*TAP.read().unwrap_or_else(PoisonError::into_inner) {
        // Fails only when a value's own Display does; what it wrote until then stays.
        let mut line = String::new();
        let _ = std::fmt::write(&mut line, message);
        tap(level, &line, text_below);
    }
}
