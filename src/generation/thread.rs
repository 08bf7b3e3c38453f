//! Which threads this process has beside the one that asks: those that a fork would leave behind.

use std::{fs, io};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherThread {
    /// As gettid(2) and Python's `Thread.native_id` tell it.
    pub id: u32,
    /// What the thread calls itself, at most 15 bytes.
    pub name: String,
}

/// Called on the main thread, whose id is that of the process.
pub fn other_threads() -> io::Result<Vec<OtherThread>> {
    let own = std::process::id();
    let mut threads: Vec<OtherThread> = fs::read_dir("/proc/self/task")?
        .flatten()
        .filter_map(|task| {
            let id = task.file_name().to_str()?.parse().ok()?;
            // A thread may end meanwhile.
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let name = name.trim_end().to_owned();
            Some(OtherThread { id, name })
        })
        .filter(|thread| thread.id != own)
        .collect();
    threads.sort_by_key(|thread| thread.id);
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_by_its_name() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("left-behind".to_owned())
            .spawn(move || receiver.recv())
            .unwrap();
        // The new thread names itself, which may take a moment.
        while !other_threads()
            .unwrap()
            .iter()
            .any(|thread| thread.name == "left-behind")
        {
            std::thread::yield_now();
        }
        drop(sender);
        let _ = thread.join().unwrap();
    }
}
