//! Sets of bytes that a grammar allows, made by the compiler and asked with one load.

pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    /// The ASCII letters and digits, and these.
    pub(super) const fn letters_digits_and(more: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < table.len() {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut index = 0;
        while index < more.len() {
            table[more[index] as usize] = true;
            index += 1;
        }
        Self(table)
    }

    #[inline]
    pub(super) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_what_it_was_made_of_and_nothing_else() {
        static SET: ByteSet = ByteSet::letters_digits_and(b"-");
        let has: Vec<u8> = (0..=255).filter(|byte| SET.has(*byte)).collect();
        assert_eq!(
            String::from_utf8(has).unwrap(),
            "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        );
    }
}
