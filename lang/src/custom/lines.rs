//! Splits output into lines for observers (C-80, C-81).

/// Longest line that is delivered, in bytes, unless an observer says otherwise.
pub(crate) const LINE_MAX: usize = 16_384;

/// One channel of one log. Keeps the beginning of a line until its end comes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// The line is too long already: the rest of it is passed over.
    skipping: bool,
}

impl Lines {
    /// Calls `each` with each whole line, without its end. Too long ones are left out.
    pub fn feed<E>(&mut self, bytes: &[u8], max: usize, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<u64, E> {
        let mut count = 0;
        let mut from = 0;
        while let Some(at) = bytes[from..].iter().position(|b| *b == b'\n') {
            let piece = &bytes[from..from + at];
            from += at + 1;
            count += 1;
            if std::mem::take(&mut self.skipping) || self.rest.len() + piece.len() > max {
                self.rest.clear();
                continue;
            }
            if self.rest.is_empty() {
                each(&text(piece))?;
            } else {
                self.rest.extend_from_slice(piece);
                let line = std::mem::take(&mut self.rest);
                each(&text(&line))?;
            }
        }
        let piece = &bytes[from..];
        if self.skipping || self.rest.len() + piece.len() > max {
            self.skipping |= !piece.is_empty();
            self.rest.clear();
        } else {
            self.rest.extend_from_slice(piece);
        }
        Ok(count)
    }

    /// The last line, where it has no end.
    pub fn finish<E>(&mut self, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.rest);
        if line.is_empty() { Ok(()) } else { each(&text(&line)) }
    }
}

/// Without a carriage return at the end; invalid bytes are replaced (C-71).
fn text(line: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]], max: usize) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = vec![];
        let mut each = |l: &str| {
            found.push(l.to_owned());
            Ok::<_, ()>(())
        };
        for piece in pieces {
            lines.feed(piece, max, &mut each).unwrap();
        }
        lines.finish(&mut each).unwrap();
        found
    }

    #[test]
    fn lines_are_whole_wherever_the_pieces_are_cut() {
        assert_eq!(all(&[b"a\nb", b"c\r\n", b"", b"\xff\nlast"], 100), ["a", "bc", "\u{fffd}", "last"]);
    }

    #[test]
    fn a_line_longer_than_the_bound_is_not_delivered_and_the_next_one_is() {
        let long = [b'x'; 16_385];
        let fits = [b'y'; 16_384];
        let found = all(&[b"a\n", &long[..9000], &long[9000..], b"\n", &fits, b"\nb\n"], LINE_MAX);
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].as_str(), found[1].len(), found[2].as_str()), ("a", 16_384, "b"));
    }
}
