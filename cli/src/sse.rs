//! Server-sent events, read from a stream of bytes.

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The topic; empty for a message without one.
    pub event: String,
    pub data: String,
    /// The last id seen, to go on from after a cut.
    pub id: String,
}

/// Longest line that is believed; a server that sends a longer one is broken.
const LINE_MAX: usize = 8 * 1024 * 1024;

/// Collects bytes to events. Comments (the server's pings) give none.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_return: bool,
}

impl Parser {
    /// The events that the next piece completes. None: the stream is broken.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_return = std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    if let Some(event) = self.end_of_line(&String::from_utf8_lossy(&line)) {
                        events.push(event);
                    }
                }
                _ if self.line.len() >= LINE_MAX => return None,
                _ => self.line.push(*byte),
            }
        }
        Some(events)
    }

    fn end_of_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let complete = std::mem::take(&mut self.has_data);
            // The id outlives its event.
            let next = Event { id: self.event.id.clone(), ..Event::default() };
            let event = std::mem::replace(&mut self.event, next);
            return complete.then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.event = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.event.id = value.to_owned(),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let bytes = b": ping\n\nid: 7\nevent: builds.new\ndata: {\"a\":1}\n\ndata: x\r\ndata: y\r\n\r\nevent: none\n\n";
        let mut whole = Parser::default();
        let events = whole.push(bytes).unwrap();
        let mut cut = Parser::default();
        let pieces: Vec<Event> = bytes.iter().flat_map(|b| cut.push(&[*b]).unwrap()).collect();
        assert_eq!(events, pieces);
        assert_eq!(events.len(), 2);
        assert_eq!(events[0], Event { event: "builds.new".into(), data: "{\"a\":1}".into(), id: "7".into() });
        assert_eq!(events[1], Event { event: String::new(), data: "x\ny".into(), id: "7".into() });
    }
}
