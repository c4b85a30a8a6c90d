//! What a dialect of the project's own gets: the request as plain data.

use super::common::{self, header};
use super::{Refused, Sent};
use serde_json::{Map, Value};
use tidemill_lang::policies::HookInput;

/// Headers that say who is asking, and are no business of the project's.
const PRIVATE: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The request, without what proves anything.
pub fn input(sent: &Sent<'_>) -> HookInput {
    let private = |name: &str| {
        PRIVATE.contains(&name)
            || [&sent.hook.token_header, &sent.hook.signature_header].into_iter().flatten().any(|h| h == name)
    };
    let headers = sent.headers.iter().filter(|(name, _)| !private(name.as_str()));
    HookInput {
        headers: headers.map(|(n, v)| (n.as_str().to_owned(), text(v.as_bytes()))).collect(),
        args: sent.query.iter().cloned().collect(),
        body: text(sent.body),
        data: data(sent),
        attrs: sent.hook.attrs.clone(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The body as JSON, or the fields of a form.
fn data(sent: &Sent<'_>) -> Value {
    match header(sent, "content-type") {
        Some(t) if t.starts_with("application/x-www-form-urlencoded") => {
            let fields = url::form_urlencoded::parse(sent.body);
            Value::Object(fields.map(|(k, v)| (k.into_owned(), Value::String(v.into_owned()))).collect::<Map<_, _>>())
        }
        _ => serde_json::from_slice(sent.body).unwrap_or_default(),
    }
}

/// The payload of a forge, for a function that names its codebase.
pub fn payload(sent: &Sent<'_>) -> Result<Value, Refused> {
    common::payload(sent)
}
