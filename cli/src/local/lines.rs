//! Text out of bytes that are cut anywhere.

/// Gives whole characters only; what is no UTF-8 becomes a sign that says so.
#[derive(Debug, Default)]
pub struct Characters(Vec<u8>);

impl Characters {
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let cut = match self.0.utf8_chunks().last() {
            // The end may be the beginning of a character.
            Some(last) if is_begin(last.invalid()) => self.0.len() - last.invalid().len(),
            _ => self.0.len(),
        };
        let rest = self.0.split_off(cut);
        String::from_utf8_lossy(&std::mem::replace(&mut self.0, rest)).into_owned()
    }

    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.0)).into_owned()
    }
}

fn is_begin(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_comes_whole_wherever_it_is_cut() {
        let bytes = "aü😀\n".bytes().chain([0xff, b'b', 0xc3]).collect::<Vec<u8>>();
        let mut characters = Characters::default();
        let mut text: String = bytes.iter().map(|b| characters.push(&[*b])).collect();
        assert_eq!(text, "aü😀\n\u{fffd}b");
        text = characters.finish();
        assert_eq!(text, "\u{fffd}");
        assert_eq!(characters.push("plain".as_bytes()), "plain");
    }
}
