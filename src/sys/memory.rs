//! Anonymous memory that several processes map.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::AtomicU64,
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
    },
};

/// A type that may live in shared memory: made of atomics only, valid when zeroed, and without pointers.
///
/// # Safety
/// Other processes write to the memory at any time; a type with a plain field would be a data race.
pub unsafe trait Atomics {}

// SAFETY: atomics only, for which every content is a value.
unsafe impl<const WORDS: usize> Atomics for [AtomicU64; WORDS] {}

/// Gives free memory of the allocator back to the kernel, and tidies the rest. Before a fork: a child that finds the free
/// lists in disorder sorts them, and so copies pages that it would share.
pub fn trim_heap() {
    // SAFETY: malloc_trim(3) works on the allocator's own state, under its locks.
    unsafe { libc::malloc_trim(0) };
}

/// Takes every free piece of the heap below its end, for good. Before a fork: allocations of the child would go to these
/// pieces, which lie between the data that it shares, and copy a page each; so they go to the end, side by side.
///
/// After [`trim_heap`] the pieces hold no whole page that takes memory.
pub fn seal_heap() {
    /// Chunks of the allocator: their sizes are multiples of the unit, and include what it writes before each.
    const CHUNK_UNIT: usize = 16;
    const CHUNK_HEADER: usize = 8;
    const CHUNK_MIN: usize = 32;
    const CHUNK_MAX: usize = 64 * 1024;
    // SAFETY: malloc(3), free(3) and mallinfo(3) work on the allocator's own state, under its locks; nothing is read or
    // written through the pointers, and only what was just allocated is freed.
    unsafe {
        let end = libc::malloc(CHUNK_MAX);
        libc::free(end);
        // No more than the C library has: another allocator may be in its place, and need not give out its holes first.
        let mut left = usize::try_from(libc::mallinfo().fordblks).unwrap_or(0);
        for chunk in (CHUNK_MIN..=CHUNK_MAX).rev().step_by(CHUNK_UNIT) {
            while left >= chunk {
                let piece = libc::malloc(chunk - CHUNK_HEADER);
                if piece >= end || piece.is_null() {
                    libc::free(piece);
                    break;
                }
                left -= chunk;
            }
        }
    }
}

/// Forgets which pages of program files (text and constants) were used so far. They are still in the page cache and come
/// back when they are needed again, which for a process that waits most of the time is few of them.
pub fn release_program_files() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let mut file: Option<(usize, usize)> = None;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:"), Some("0")) => {
                if let Some((start, length)) = file.take() {
                    // SAFETY: a private mapping of a file that is not writable and of which no page was ever written to
                    // (relocations included) shows the same file again after its pages are dropped.
                    unsafe {
                        libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED)
                    };
                }
            }
            (Some(range), Some("r-xp" | "r--p")) => {
                let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                file = bounds(range).filter(|_| is_file);
            }
            (Some(range), Some(_)) if bounds(range).is_some() => file = None,
            _ => {}
        }
    }
    Ok(())
}

/// Start and length of a mapping, `7f00…-7f01…` in hex.
fn bounds(range: &str) -> Option<(usize, usize)> {
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

/// A mapping of a memfd, shared with every process that gets the descriptor. None of them can make it shorter, which would end
/// the others with SIGBUS.
#[derive(Debug)]
pub struct SharedMemory {
    descriptor: OwnedFd,
    address: NonNull<libc::c_void>,
    size: usize,
}

// SAFETY: the mapping is only reachable as `&T` with `T: Atomics`, which is free of data races.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New zeroed memory of `size` bytes, close-on-exec.
    pub fn create(name: &str, size: usize) -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let descriptor = memfd_create(name, flags)?;
        // RLIMIT_FSIZE bounds such files, too.
        nix::unistd::ftruncate(&descriptor, size as libc::off_t).map_err(|errno| {
            let problem = io::Error::from(errno);
            io::Error::other(format!("no {size} bytes of shared memory: {problem}"))
        })?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
        fcntl(&descriptor, FcntlArg::F_ADD_SEALS(seals))?;
        Self::open(descriptor, size)
    }

    /// Maps memory that [`SharedMemory::create`] made; fails when it is smaller than `size`.
    pub fn open(descriptor: OwnedFd, size: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(size).ok_or(io::ErrorKind::InvalidInput)?;
        if nix::sys::stat::fstat(&descriptor)?.st_size < size as libc::off_t {
            return Err(io::Error::other(
                "the shared memory is smaller than expected",
            ));
        }
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping at an address the kernel picks touches nothing that exists.
        let address = unsafe {
            mmap(
                None,
                length,
                protection,
                MapFlags::MAP_SHARED,
                &descriptor,
                0,
            )?
        };
        Ok(Self {
            descriptor,
            address,
            size,
        })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The memory as a `T`.
    ///
    /// # Panics
    /// When `T` is larger than the mapping.
    pub fn as_ref_of_atomics<T: Atomics>(&self) -> &T {
        assert!(
            size_of::<T>() <= self.size,
            "the mapping is smaller than the type"
        );
        // SAFETY: the mapping is page-aligned, at least as large as `T`, lives as long as `self`, and `T: Atomics` is
        // valid for any content and shared without data races.
        unsafe { self.address.cast::<T>().as_ref() }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference outlives `self`. Failure would only leak it.
        let _ = unsafe { munmap(self.address, self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The allocator keeps a heap for each thread, and the generation has one thread: so has this test, in a process of its own.
    #[test]
    fn nothing_is_allocated_between_what_there_was_before_the_heap_was_sealed() {
        const NAME: &str = "sys::memory::tests::nothing_is_allocated_between_what_there_was_before_the_heap_was_sealed";
        const IS_ALONE: &str = "RGUNICORN_TEST_IS_ALONE";
        if std::env::var_os(IS_ALONE).is_some() {
            return check_that_the_heap_is_sealed();
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--test-threads=1"])
            .env(IS_ALONE, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{told}"
        );
    }

    fn check_that_the_heap_is_sealed() {
        const SIZES: [usize; 4] = [16, 100, 700, 5000];
        for size in SIZES {
            let blocks: Vec<Vec<u8>> = (0..400).map(|_| Vec::with_capacity(size)).collect();
            let kept: Vec<Vec<u8>> = blocks.into_iter().step_by(2).collect();
            let addresses = || kept.iter().map(Vec::as_ptr);
            let (first, last) = (addresses().min().unwrap(), addresses().max().unwrap());
            seal_heap();
            let later: Vec<Vec<u8>> = (0..100).map(|_| Vec::with_capacity(size)).collect();
            let between = |block: &&Vec<u8>| (first..last).contains(&block.as_ptr());
            assert_eq!(later.iter().filter(between).count(), 0, "of {size} bytes");
        }
    }
}
