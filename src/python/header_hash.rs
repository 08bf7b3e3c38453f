//! Where a header's name is looked for in the caches of names.

/// Length, beginning and end: enough to tell header names apart.
#[inline]
pub(super) fn header_hash(name: &[u8]) -> usize {
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let (first, last) = match name {
        [.., _, _, _, _] => (word(&name[..4]), word(&name[name.len() - 4..])),
        _ => (word(name), 0),
    };
    let mixed = (first << 32 | last)
        .wrapping_add(name.len() as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 48) as usize
}
