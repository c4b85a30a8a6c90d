//! Messages of the protocol: JSON behind a `Content-Length`.

use serde_json::{Value, json};
use std::io::{self, BufRead, Read, Write};

/// Largest message that is read: every file of a project together is smaller.
const MESSAGE_MAX: u64 = 64 << 20;

/// The next message; none at the end of the input.
pub fn read(input: &mut impl BufRead) -> io::Result<Option<Value>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if input.by_ref().take(4096).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<u64>().ok();
        }
    }
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let length = length.filter(|l| *l <= MESSAGE_MAX).ok_or_else(|| bad("a message without a usable length".into()))?;
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(|e| bad(format!("a message that is no JSON: {e}")))
}

pub fn write(output: &mut impl Write, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    write!(output, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    output.flush()
}

pub fn answer(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

pub fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

pub fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in_and_a_bad_one_is_an_error() {
        let mut bytes = vec![];
        let message = notification("x", json!({ "text": "ü€\n" }));
        write(&mut bytes, &message).unwrap();
        let mut input = bytes.as_slice();
        assert_eq!(read(&mut input).unwrap(), Some(message));
        assert_eq!(read(&mut input).unwrap(), None);
        for bad in ["Content-Length: 99999999999\r\n\r\n{}", "\r\n{}", "Content-Length: 2\r\n\r\n{x"] {
            assert!(read(&mut bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
