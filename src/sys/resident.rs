//! How much memory a process uses, and whether the kernel kills for want of it.

use std::fs;

/// Resident bytes of a process, pages shared with its generation included; `None` when it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page_bytes).ok()?)
}

/// How many processes the kernel has killed because memory ran out, of the machine or of a control group; `None` where it
/// does not tell (Linux before 4.13).
pub fn oom_kills() -> Option<u64> {
    counted(&fs::read_to_string("/proc/vmstat").ok()?)
}

fn counted(vmstat: &str) -> Option<u64> {
    let line = vmstat
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kills_of_the_kernel_are_counted() {
        assert_eq!(counted("nr_dirty 1\noom_kill 7\noom_kill_x 9\n"), Some(7));
        assert_eq!(counted("nr_dirty 1\n"), None);
    }

    #[test]
    fn a_process_that_lives_uses_memory_and_one_that_does_not_exist_uses_none() {
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
