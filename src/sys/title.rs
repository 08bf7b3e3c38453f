//! The process title: what `ps` and `top` show.
//!
//! `ps` reads the memory that held the command line at exec, so a title is written over it. The area is as long as the
//! command line was; a longer title is cut, and nothing beyond the area (the environment) is ever written.

/// Writes `title` over the command line and, shortened, into the name that `top` shows.
///
/// The arguments are gone afterwards: call this when they were read. In a Python process they were, before any module
/// could run: the interpreter keeps copies only. A process where the area cannot be found keeps its old title.
pub fn set_process_title(title: &str) {
    if let Ok(name) = std::ffi::CString::new(short_name(title)) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    if let Ok(stat) = std::fs::read("/proc/self/stat")
        && let Some((start, length)) = command_line_area(&stat)
        && current_command_line_fits(length)
    {
        overwrite(start, length, title.as_bytes());
    }
}

/// The title without its spaces; the kernel shows the first 15 bytes of it, `rgunicorn:worke`. The name stands in the second field of
/// /proc/self/stat, and CPython from 3.12 on counts spaces there to find its number of threads before a fork: with one in
/// the name it reads the nice value instead, and warns of threads that do not exist.
fn short_name(title: &str) -> String {
    title.replace(char::is_whitespace, "")
}

/// Where the kernel says the command line is: address and length. Fields 48 and 49 of proc_pid_stat(5).
fn command_line_area(stat: &[u8]) -> Option<(usize, usize)> {
    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace().skip(45);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    (start != 0 && start < end).then(|| (start, end - start))
}

/// A second opinion before memory is written: the kernel can read as many bytes there as the area is said to have.
fn current_command_line_fits(length: usize) -> bool {
    std::fs::read("/proc/self/cmdline").is_ok_and(|line| !line.is_empty() && line.len() <= length)
}

/// Writes the title, cut to leave a final NUL, and clears the rest: with a NUL in the last byte, `ps` looks no further.
fn overwrite(start: usize, length: usize, title: &[u8]) {
    let shown = title.len().min(length - 1);
    let area = start as *mut u8;
    // SAFETY: the kernel placed the argument strings of this process in these `length` bytes of its stack, which stay
    // mapped and writable for its life. Only C's argv points there, and no Rust reference does. The copy ends one byte
    // before the end of the area, the rest is cleared up to its end.
    unsafe {
        std::ptr::copy_nonoverlapping(title.as_ptr(), area, shown);
        std::ptr::write_bytes(area.add(shown), 0, length - shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_name_has_no_space() {
        assert_eq!(
            short_name("rgunicorn: worker 7 generation 3"),
            "rgunicorn:worker7generation3"
        );
    }

    #[test]
    fn the_area_is_found_behind_a_name_with_parentheses() {
        let mut stat = b"7 (a) b (c) S".to_vec();
        stat.extend_from_slice(" 0".repeat(44).as_bytes());
        stat.extend_from_slice(b" 4096 4196 5000 6000 0");
        assert_eq!(command_line_area(&stat), Some((4096, 100)));
    }

    #[test]
    fn an_area_that_the_kernel_hides_is_none() {
        let stat = format!("7 (a) S{}", " 0".repeat(50));
        assert_eq!(command_line_area(stat.as_bytes()), None);
    }
}
