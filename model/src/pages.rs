//! Paths of pages, for links to them: in pages, and in notices that leave the house.

/// One part of a path: everything but unreserved characters is encoded.
pub fn segment(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    // A part of only dots would be taken for a step up.
    if !text.is_empty() && text.bytes().all(|b| b == b'.') {
        return "%2E".repeat(text.len());
    }
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub fn builder_path(name: &str) -> String {
    format!("/builders/{}", segment(name))
}

pub fn build_path(builder: &str, number: i64) -> String {
    format!("/builders/{}/builds/{number}", segment(builder))
}

pub fn request_path(id: i64) -> String {
    format!("/buildrequests/{id}")
}

pub fn log_path(id: i64) -> String {
    format!("/logs/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_whatever_is_in_it() {
        assert_eq!(segment("linux/x86 ü?#"), "linux%2Fx86%20%C3%BC%3F%23");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
