//! Randomness of the kernel.

/// 64 bits that nobody can guess; getrandom(2).
pub fn random_u64() -> u64 {
    let mut bytes = [0_u8; 8];
    loop {
        // SAFETY: getrandom(2) writes at most eight bytes to the array. It fails only by being interrupted: so few bytes
        // come whole, from every kernel that has pidfds.
        let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if count == bytes.len() as isize {
            return u64::from_ne_bytes(bytes);
        }
    }
}
