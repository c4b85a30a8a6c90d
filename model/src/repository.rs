//! A repository's address, for people.

/// The address without what may be a secret: the user and password before the
/// host of a URL. What is shown or stored as a repository's name goes through
/// here; only who fetches keeps the whole.
///
/// `git@host:path` and plain paths hold no password and stay as they are.
pub fn public_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_left_out_and_nothing_else() {
        assert_eq!(public_url("https://ada:s3cret@host.example/a@b.git"), "https://host.example/a@b.git");
        assert_eq!(public_url("https://tok@en@host.example"), "https://host.example");
        for whole in ["https://host.example/a@b", "git@host.example:a.git", "/srv/a@b.git", "file:///srv/a.git", ""] {
            assert_eq!(public_url(whole), whole);
        }
    }
}
