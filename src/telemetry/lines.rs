//! Bytes as they come, parted into lines as they are complete.

use memchr::memchr;

/// Bytes of a line that is not complete; a longer one is told in pieces.
const LINE_BYTES_MAX: usize = 8192;

/// Keeps the beginning of a line until its end comes.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Hands each complete line to `take`, without its line end. What is not UTF-8 becomes U+FFFD.
    pub fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.begun.len();
            let window = &bytes[..bytes.len().min(room)];
            match memchr(b'\n', window) {
                Some(end) => {
                    self.begun.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    self.give(&mut take);
                }
                None => {
                    self.begun.extend_from_slice(window);
                    bytes = &bytes[window.len()..];
                    if self.begun.len() == LINE_BYTES_MAX {
                        self.give_a_piece(&mut take);
                    }
                }
            }
        }
    }

    /// Of a line that is too long, up to where a character ends.
    fn give_a_piece(&mut self, take: &mut impl FnMut(&str)) {
        let cut = self.begun.utf8_chunks().last();
        let whole = self.begun.len() - cut.map_or(0, |chunk| chunk.invalid().len());
        let begun_character = self.begun.split_off(whole);
        self.give(take);
        self.begun = begun_character;
    }

    /// Hands over what was begun, if anything was.
    pub fn finish(&mut self, mut take: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            self.give(&mut take);
        }
    }

    fn give(&mut self, take: &mut impl FnMut(&str)) {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        take(&String::from_utf8_lossy(line));
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| told.push(line.to_owned()));
        }
        lines.finish(|line| told.push(format!("{line}…")));
        told
    }

    #[test]
    fn lines_are_told_when_they_are_complete() {
        assert_eq!(
            lines(&[b"a", b"b\nc\r\n\nd", b"\xffe"]),
            ["ab", "c", "", "d\u{fffd}e…"]
        );
        assert_eq!(lines(&[b"a\n"]), ["a"]);
    }

    #[test]
    fn a_piece_ends_where_a_character_ends() {
        let long = "é🐍".repeat(LINE_BYTES_MAX);
        for shift in 0..6 {
            let text = format!("{}{long}", "x".repeat(shift));
            let told = lines(&[text.as_bytes()]).concat();
            assert_eq!(told, format!("{text}…"));
        }
    }

    #[test]
    fn a_line_without_end_is_told_in_pieces() {
        let long = vec![b'x'; 2 * LINE_BYTES_MAX + 3];
        let lengths: Vec<usize> = lines(&[&long]).iter().map(|line| line.len()).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, LINE_BYTES_MAX, 3 + "…".len()]);
    }
}
