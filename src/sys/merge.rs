//! Merging of equal memory: KSM, "kernel samepage merging".

use std::{fs, io};

use super::check;

/// Lets the kernel merge pages of this process, and of all that it forks from now on, with pages of the same content: each
/// other's, and those of strangers who let it, too. Needs Linux 6.4, and no privilege.
pub fn allow_merging() -> io::Result<()> {
    // All are whole words for the kernel, which refuses stray bits in those that it does not use.
    let [on, unused]: [libc::c_ulong; 2] = [1, 0];
    // SAFETY: prctl(2) with PR_SET_MEMORY_MERGE takes integers; a merged page reads as before, and a write to it copies it.
    check(unsafe { libc::prctl(libc::PR_SET_MEMORY_MERGE, on, unused, unused, unused) })?;
    Ok(())
}

/// Whether the host merges what it may; `None` where it does not tell.
pub fn host_merges() -> Option<bool> {
    let run = fs::read_to_string("/sys/kernel/mm/ksm/run").ok()?;
    Some(run.trim_end() == "1")
}
