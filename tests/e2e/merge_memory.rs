//! `merge_memory`: the kernel may merge equal pages of generation and workers, and of nothing else.

use std::fs;

use crate::harness::{Process, Server, Setup};

/// There where the kernel was built with KSM; `1` is on.
const SWITCH: &str = "/sys/kernel/mm/ksm/run";
const HOW_TO_TURN_IT_ON: &str = "`echo 1 > /sys/kernel/mm/ksm/run`";
/// The first kernel that takes a whole process.
const LINUX_MIN: (u32, u32) = (6, 4);

#[test]
fn generation_and_workers_let_the_kernel_merge_their_memory_while_the_key_is_on() {
    for preload in [false, true] {
        let config =
            |merges: bool| format!("workers = 2\npreload = {preload}\nmerge_memory = {merges}");
        let server = Server::start(&config(false));
        server.says(" serving");
        assert_eq!(are_mergeable(&server), [false; 4]);
        server.edit(&config(true));
        server.applied();
        if !kernel_can_merge() {
            eprintln!("this kernel has no KSM, or is older than 6.4: skipped but for its warning");
            server.says("the kernel cannot merge memory");
            assert_eq!(server.text("/"), "hello from /");
            continue;
        }
        assert_eq!(are_mergeable(&server), [false, true, true, true]);
        server.edit(&config(false));
        server.applied();
        assert_eq!(are_mergeable(&server), [false; 4]);
    }
}

#[test]
fn a_host_that_does_not_merge_is_told_of_once_with_the_command_that_turns_it_on() {
    if !kernel_can_merge() {
        eprintln!("this kernel has no KSM, or is older than 6.4: skipped");
        return;
    }
    let is_on = fs::read_to_string(SWITCH).unwrap().trim() == "1";
    let server = Server::start("workers = 2\nmerge_memory = true");
    server.says(" serving");
    let told = server.log().matches(HOW_TO_TURN_IT_ON).count();
    assert_eq!(told, usize::from(!is_on), "{}", server.log());

    let check = Setup::with("merge_memory = true").arguments(&["check"]);
    let exit = check.run();
    assert_eq!(exit.code, Some(0));
    assert_eq!(exit.log.contains(HOW_TO_TURN_IT_ON), !is_on, "{}", exit.log);
}

/// Of the arbiter, its generation and then the workers, whether the kernel may merge their heaps.
fn are_mergeable(server: &Server) -> Vec<bool> {
    let [generation] = server.generations()[..] else {
        panic!("one generation is expected");
    };
    let processes = [server.arbiter(), generation];
    let all = processes.into_iter().chain(generation.children());
    all.map(has_mergeable_heap).collect()
}

/// Flags of a mapping: proc_pid_smaps(5).
fn has_mergeable_heap(process: Process) -> bool {
    let maps = fs::read_to_string(format!("/proc/{}/smaps", process.pid)).unwrap();
    let heap = maps.split_once("[heap]").unwrap().1;
    let flags = heap.lines().find_map(|line| line.strip_prefix("VmFlags:"));
    flags.unwrap().split_whitespace().any(|flag| flag == "mg")
}

fn kernel_can_merge() -> bool {
    let release = nix::sys::utsname::uname().unwrap();
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= LINUX_MIN && fs::exists(SWITCH).unwrap()
}
