//! How much memory a process uses, and whether the kernel kills for want of it.

use std::{fs, path::PathBuf};

/// Resident bytes of a process, pages shared with its generation included; `None` when it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page_bytes).ok()?)
}

/// How many processes the kernel has killed because memory ran out: of this process's control group, where the kernel counts those,
/// else of the whole machine, neighbours in other containers included. `None` where it does not tell (Linux before 4.13).
pub fn oom_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let counts = counts(&groups).chain([PathBuf::from("/proc/vmstat")]);
    let mut told = counts.filter_map(|path| counted(&fs::read_to_string(path).ok()?));
    told.next()
}

/// Where the kills in a control group are counted, by the lines of `/proc/self/cgroup`; cgroups(7). In a container what is mounted
/// may begin with the group itself.
fn counts(groups: &str) -> impl Iterator<Item = PathBuf> {
    let places = groups.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.events"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.oom_control"),
            _ => return None,
        };
        Some([format!("{mount}{group}/{file}"), format!("{mount}/{file}")])
    });
    places.flatten().map(PathBuf::from)
}

/// The count in a text of lines with a name and a number each.
fn counted(text: &str) -> Option<u64> {
    let line = text
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
        assert_eq!(
            counted("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            Some(2)
        );
    }

    #[test]
    fn the_kills_are_counted_in_the_control_group_of_either_version() {
        let places = |groups| -> Vec<String> {
            let places = counts(groups);
            places.map(|path| path.display().to_string()).collect()
        };
        assert_eq!(
            places("0::/system.slice/mysite.service\n"),
            [
                "/sys/fs/cgroup/system.slice/mysite.service/memory.events",
                "/sys/fs/cgroup/memory.events"
            ]
        );
        assert_eq!(
            places("5:devices:/\n4:memory:/docker/1f\n3:cpu,cpuacct:/\n"),
            [
                "/sys/fs/cgroup/memory/docker/1f/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control"
            ]
        );
    }

    #[test]
    fn a_process_that_lives_uses_memory_and_one_that_does_not_exist_uses_none() {
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
