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

/// Who an address says is asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl Login {
    /// An address of the web without user and password, and these. A program is
    /// given them in another way than by its arguments, which every process of
    /// the machine can read, and keeps the address without them.
    pub fn apart(url: &str) -> (String, Option<Login>) {
        let web = ["http://", "https://"].iter().any(|s| url.get(..s.len()).is_some_and(|u| u.eq_ignore_ascii_case(s)));
        let bare = public_url(url);
        if !web || bare.len() == url.len() {
            return (url.to_owned(), None);
        }
        let at = url.find("://").map_or(0, |at| at + 3);
        let said = &url[at..at + (url.len() - bare.len()) - 1];
        let (user, password) = said.split_once(':').unwrap_or((said, ""));
        (bare, Some(Login { user: percent_decoded(user), password: percent_decoded(password) }))
    }

    /// For a configuration file of Mercurial: who asks at this address.
    pub fn lines_of_hg(&self, url: &str) -> String {
        let line = |text: &str| text.replace(['\n', '\r'], "");
        format!(
            "[auth]\ntidemill.prefix = {}\ntidemill.username = {}\ntidemill.password = {}\ntidemill.schemes = http https\n",
            line(url.split_once("://").map_or(url, |(_, rest)| rest)),
            line(&self.user),
            line(&self.password)
        )
    }

    /// What of it no text for people may show: the password, or the user where
    /// there is none and it is a token; as it is and as addresses write it.
    pub fn secrets(&self) -> [String; 2] {
        let secret = if self.password.is_empty() { &self.user } else { &self.password };
        [secret.clone(), percent_encoded(secret)]
    }

    /// A line of a file of `git credential-store`, for the host of this address.
    pub fn line_of_git(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        format!("{scheme}://{}:{}@{host}\n", percent_encoded(&self.user), percent_encoded(&self.password))
    }
}

/// `%41` becomes `A`; what is no such code stays.
pub fn percent_decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// All but letters, digits and `-_.~` becomes a code.
pub fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Whether a branch is one in which a forge keeps what is proposed to a
/// repository: pull requests, merge requests, patch sets. Anybody's commits may
/// be there.
pub fn is_proposal(branch: &str) -> bool {
    let kinds = ["pull/", "pull-requests/", "merge-requests/", "changes/"];
    branch.strip_prefix("refs/").is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_taken_out_of_an_address_of_the_web() {
        let (url, login) = Login::apart("https://me:p%40ss%ü@h.example:8443/r/x@y");
        let login = login.unwrap();
        assert_eq!(url, "https://h.example:8443/r/x@y");
        assert_eq!((login.user.as_str(), login.password.as_str()), ("me", "p@ss%ü"));
        assert_eq!(login.line_of_git(&url), "https://me:p%40ss%25%C3%BC@h.example:8443\n");
        let (url, login) = Login::apart("HTTP://t0ken@h");
        assert_eq!((url.as_str(), login.unwrap().user.as_str()), ("HTTP://h", "t0ken"));
        for whole in ["ssh://hg@h/x", "/srv/hg", "https://h/x@y", "git@h:x", "svn+ssh://me@h/x", "é://a@b", ""] {
            assert_eq!(Login::apart(whole), (whole.to_owned(), None));
        }
        assert_eq!(percent_decoded("%4"), "%4");
    }

    #[test]
    fn what_a_forge_keeps_of_pull_requests_is_known_by_its_ref() {
        for of in
            ["refs/pull/5/head", "refs/merge-requests/1/merge", "refs/changes/12/12/1", "refs/pull-requests/9/from"]
        {
            assert!(is_proposal(of), "{of}");
        }
        for not in ["main", "pull/5/head", "refs/heads/pull/5", "refs/tags/v1", "refs/pulls/1", ""] {
            assert!(!is_proposal(not), "{not}");
        }
    }

    #[test]
    fn user_and_password_are_left_out_and_nothing_else() {
        assert_eq!(public_url("https://ada:s3cret@host.example/a@b.git"), "https://host.example/a@b.git");
        assert_eq!(public_url("https://tok@en@host.example"), "https://host.example");
        for whole in ["https://host.example/a@b", "git@host.example:a.git", "/srv/a@b.git", "file:///srv/a.git", ""] {
            assert_eq!(public_url(whole), whole);
        }
    }
}
