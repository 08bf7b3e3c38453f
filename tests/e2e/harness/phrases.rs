//! The words of the error log that tests wait for: an interface, kept in one place. `…` stands for anything.

/// A socket is open; the address follows.
pub const LISTENING: &str = "listening at ";
/// A worker serves. Last word of the line.
pub const READY: &str = " ready";
/// All workers of the first generation serve. Last word of the line.
pub const SERVING: &str = " serving";
/// An edit or a HUP is in force.
pub const APPLIED: &str = "reload … done";
/// An edit or a HUP changed nothing, because something is wrong with it.
pub const REJECTED: &str = "reload … rejected";
