//! Anonymous memory that several processes map.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
};

use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    mman::{MapFlags, ProtFlags, mmap, munmap},
};

/// A type that may live in shared memory: made of atomics only, valid when zeroed, and without pointers.
///
/// # Safety
/// Other processes write to the memory at any time; a type with a plain field would be a data race.
pub unsafe trait Atomics {}

/// A mapping of a memfd, shared with every process that gets the descriptor.
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
        let descriptor = memfd_create(name, MFdFlags::MFD_CLOEXEC)?;
        nix::unistd::ftruncate(&descriptor, size as libc::off_t)?;
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
