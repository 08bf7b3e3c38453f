//! What the log says of a header that is dropped because of its name, when a peer that is believed sent it: a proxy that
//! tells who is logged in would else do so in vain, without a word.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys;

/// Clients choose names, too: a worker tells of one of them in so long.
const PAUSE_NS: u64 = 60_000_000_000;

#[cold]
pub(super) fn tell(name: &[u8]) {
    static AGAIN_NS: AtomicU64 = AtomicU64::new(0);
    let now_ns = sys::monotonic_ns();
    if now_ns < AGAIN_NS.load(Relaxed) {
        return;
    }
    AGAIN_NS.store(now_ns + PAUSE_NS, Relaxed);
    let name = String::from_utf8_lossy(name);
    let hyphened = name.replace('_', "-");
    crate::info!(
        "dropped the header `{name}` of a trusted peer, because its name has an underscore: send `{hyphened}`, or see proxy.header_map"
    );
}
