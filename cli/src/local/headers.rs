//! What the worker says in a log, made short for a terminal: the command stays
//! and whatever went wrong, without the environment and the times.

use super::lines::Characters;

/// Of one log.
#[derive(Debug, Default)]
pub struct Headers {
    characters: Characters,
    line: String,
    /// Lines that may be a command: the next ones tell.
    held: String,
    /// Within the listing of the environment.
    listing: bool,
}

/// Follows a command.
const COMMAND_END: &str = " in dir ";

/// Begins of other lines that say nothing new here.
const KNOWN: [&str; 3] = [" argv: [", "elapsedTime=", "program finished with exit code 0"];

impl Headers {
    /// Whole lines worth showing.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let text = self.characters.push(bytes);
        let mut out = String::new();
        for piece in text.split_inclusive('\n') {
            self.line.push_str(piece);
            if piece.ends_with('\n') {
                self.take(&mut out);
            }
        }
        // What the worker says of a command comes at once.
        out.push_str(&std::mem::take(&mut self.held));
        out
    }

    pub fn finish(&mut self) -> String {
        let rest = self.characters.finish();
        self.line.push_str(&rest);
        let mut out = String::new();
        if !self.line.is_empty() {
            self.line.push('\n');
            self.take(&mut out);
        }
        out.push_str(&std::mem::take(&mut self.held));
        out
    }

    fn take(&mut self, out: &mut String) {
        let line = std::mem::take(&mut self.line);
        if self.listing && line.starts_with("  ") {
            return;
        }
        self.listing = line == " environment:\n";
        if line.starts_with(COMMAND_END) {
            for (at, line) in std::mem::take(&mut self.held).lines().enumerate() {
                out.push_str(if at == 0 { "$ " } else { "> " });
                out.push_str(line);
                out.push('\n');
            }
        } else if !self.listing && line != "\n" && !KNOWN.iter().any(|known| line.starts_with(known)) {
            self.held.push_str(&line);
        } else {
            out.push_str(&std::mem::take(&mut self.held));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_and_what_went_wrong_stay() {
        let text =
            "make -j4\nmake x\n in dir /x (timeout 1200 s)\n argv: [\"make\"]\n environment:\n  A=1\n    2\n  B=\n";
        let end = "\nprogram finished with exit code 2\nthe command timed out\nelapsedTime=0.5\ntrue\n in dir /\n";
        let mut headers = Headers::default();
        assert_eq!(headers.push(text.as_bytes()), "$ make -j4\n> make x\n");
        assert_eq!(headers.push(end.as_bytes()), "program finished with exit code 2\nthe command timed out\n$ true\n");
        let mut headers = Headers::default();
        let pieces: String = text.bytes().map(|b| headers.push(&[b])).collect();
        assert_eq!(pieces, "make -j4\nmake x\n", "cut anywhere it is only less pretty");
        assert_eq!(headers.push(b"no end"), "");
        assert_eq!(headers.finish(), "no end\n");
    }
}
