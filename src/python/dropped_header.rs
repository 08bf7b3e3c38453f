//! What the log says of a header that is dropped because of its name, when a peer that is believed sent it: a proxy that
//! tells who is logged in would else do so in vain, without a word.

use crate::telemetry::OnceAMinute;

/// Clients choose names, too.
static DROPPED: OnceAMinute = OnceAMinute::new();

#[cold]
pub(super) fn tell(name: &[u8]) {
    if !DROPPED.claim() {
        return;
    }
    let name = String::from_utf8_lossy(name);
    let hyphened = name.replace('_', "-");
    crate::info!(
        "dropped the header `{name}` of a trusted peer, because its name has an underscore: send `{hyphened}`, or see proxy.header_map"
    );
}
