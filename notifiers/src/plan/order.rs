//! What is told one after the other, and what of it is old news.

use super::Notice;
use crate::forge::Repository;
use sha2::{Digest, Sha256};
use tidemill_lang::definition::{Renderable, ReporterKind};
use tidemill_schema::notices::{Moment, Way};

/// Longest key; it stands in indexes.
const KEY_MAX: usize = 300;

/// What tells a status from others of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// Its builder.
    Builder,
    /// Nothing: all builders speak under one name.
    Fixed,
    /// What only a build can say: whatever could be the same status goes in order.
    Varies,
}

/// How statuses of one order supersede each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supersedes {
    /// Not at all: a message is read.
    No,
    /// Those of one request: another's may have another context.
    Request,
    /// All of the same order are one status.
    Order,
}

/// What must come one after the other: the beginning and end of a build at an address that hears
/// both, and what a forge shows of a commit under one name. Mails and comments may overtake each
/// other.
pub(super) fn key(way: Way, kind: &ReporterKind, reporter: &str, notice: &Notice, address: &str) -> Option<String> {
    use ReporterKind::*;
    let key = match (way, kind) {
        (Way::Mail, _) | (_, GithubComment(_) | BitbucketServerComment(_)) => return None,
        (Way::Irc, _) => format!("{reporter} {address}"),
        (Way::Http, _) => match (notice.request, notice.buildset) {
            (Some(request), _) => format!("{reporter} request {request}"),
            (None, Some(set)) => format!("{reporter} buildset {set}"),
            (None, None) => return None,
        },
        (Way::Forge, kind) => match context(kind) {
            Context::Builder => format!("{reporter} {} {}", notice.builder.unwrap_or_default(), place(address)),
            Context::Fixed | Context::Varies => format!("{reporter} {}", place(address)),
        },
    };
    let fits = key.len() <= KEY_MAX && !key.chars().any(char::is_control);
    Some(if fits { key } else { format!("{reporter} {}", hex::encode(Sha256::digest(key.as_bytes()))) })
}

/// Whether a later one of the same order makes an earlier one old news: a status that is shown is
/// the last, a message is read.
pub(crate) fn supersedes(kind: &ReporterKind, moment: Moment) -> Supersedes {
    use ReporterKind::*;
    let status = matches!(
        kind,
        Github(_) | Gitlab(_) | Gitea(_) | Bitbucket(_) | BitbucketServer(_) | BitbucketServerCore(_) | GerritVerify(_)
    );
    match moment {
        Moment::Start | Moment::End | Moment::Buildset | Moment::Request if status => match context(kind) {
            Context::Builder | Context::Fixed => Supersedes::Order,
            Context::Varies => Supersedes::Request,
        },
        _ => Supersedes::No,
    }
}

fn context(kind: &ReporterKind) -> Context {
    use ReporterKind::*;
    match kind {
        Gitea(forge) => match (written(forge.context.as_ref()), written(forge.context_pr.as_ref())) {
            (one, other) if one == other => one,
            _ => Context::Varies,
        },
        Github(forge) | Gitlab(forge) => written(forge.context.as_ref()),
        Bitbucket(forge) => written(forge.status_key.as_ref()),
        BitbucketServer(forge) | BitbucketServerCore(forge) => written(forge.key.as_ref()),
        GerritVerify(gerrit) => written(gerrit.verification_name.as_ref()),
        // Votes of whatever builder are one thing.
        _ => Context::Fixed,
    }
}

fn written(argument: Option<&Renderable>) -> Context {
    const BUILDER: &str = "%(prop:buildername)s";
    match argument {
        None => Context::Builder,
        Some(Renderable::Text(_) | Renderable::Secret { .. }) => Context::Fixed,
        Some(Renderable::Placeholder { shown, .. }) => {
            let lookups = shown.matches("%(").count();
            // One that is cut may hold more than it shows.
            let whole = shown.starts_with("Interpolate(") && shown.ends_with(')');
            let builder = whole && lookups > 0 && lookups == shown.matches(BUILDER).count();
            if builder || shown == "Property(\"buildername\")" { Context::Builder } else { Context::Varies }
        }
    }
}

/// `REPOSITORY@REVISION`, the same however the repository's address is written.
fn place(address: &str) -> String {
    let (repository, revision) = address.rsplit_once('@').unwrap_or((address, ""));
    let repository = match Repository::parse(repository) {
        Ok(known) => format!("{} {}", known.host, known.whole()),
        Err(_) => repository.to_owned(),
    };
    format!("{} {}", repository.to_lowercase(), revision.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::blank;
    use super::*;
    use tidemill_lang::definition::{ForgeDef, SecretText, Verify};

    fn forge(context: Option<Renderable>) -> ForgeDef {
        ForgeDef {
            base_url: "https://api.github.com".into(),
            token: SecretText::Text("t".into()),
            context,
            context_pr: None,
            warning_as_success: false,
            verify: Verify::Yes,
        }
    }

    fn shown(text: &str) -> Option<Renderable> {
        Some(Renderable::Placeholder { shown: text.into(), secrets: vec![] })
    }

    fn told(kind: &ReporterKind, builder: i64, address: &str) -> String {
        let notice = Notice { builder: Some(builder), request: Some(builder), ..blank(Moment::End) };
        key(Way::Forge, kind, "hub", &notice, address).unwrap()
    }

    const HERE: &str = "https://github.com/o/r@abc";

    #[test]
    fn what_may_be_one_status_has_one_order_and_what_cannot_be_has_several() {
        let table = [
            (None, false, Supersedes::Order),
            (shown("Interpolate(\"ci/%(prop:buildername)s\")"), false, Supersedes::Order),
            (shown("Property(\"buildername\")"), false, Supersedes::Order),
            (Some(Renderable::Text("ci".into())), true, Supersedes::Order),
            (shown("Interpolate(\"ci/%(prop:arch)s\")"), true, Supersedes::Request),
            (shown("Interpolate(\"%(prop:buildername)s/%(prop:buildnumber)s\")"), true, Supersedes::Request),
            (shown("Interpolate(\"%(prop:buildername)s and what was c"), true, Supersedes::Request),
            (shown("renderer(<function>)"), true, Supersedes::Request),
        ];
        for (context, shared, old) in table {
            let kind = ReporterKind::Github(forge(context.clone()));
            assert_eq!(told(&kind, 1, HERE) == told(&kind, 2, HERE), shared, "{context:?}");
            assert_eq!(supersedes(&kind, Moment::End), old, "{context:?}");
            assert_eq!(supersedes(&kind, Moment::Test), Supersedes::No);
        }
        let comment = ReporterKind::GithubComment(forge(None));
        let notice = Notice { builder: Some(1), ..blank(Moment::End) };
        assert_eq!(key(Way::Forge, &comment, "hub", &notice, HERE), None);
        assert_eq!(supersedes(&comment, Moment::End), Supersedes::No);
    }

    #[test]
    fn a_commit_is_the_same_however_its_repository_is_written() {
        let kind = ReporterKind::Github(forge(None));
        for same in ["git@github.com:O/r.git@ABC", "ssh://git@github.com/o/R@abc", "https://GitHub.com/o/r.git@abc"] {
            assert_eq!(told(&kind, 1, same), told(&kind, 1, HERE), "{same}");
        }
        for other in ["https://github.com/o/r@abd", "https://github.com/o/x@abc", "https://gitlab.com/o/r@abc"] {
            assert_ne!(told(&kind, 1, other), told(&kind, 1, HERE), "{other}");
        }
        let long = format!("https://github.com/o/{}@abc", "é".repeat(5000));
        assert!(told(&kind, 1, &long).len() < 100);
        assert_ne!(told(&kind, 1, &long), told(&kind, 2, &long));
    }

    #[test]
    fn documents_of_one_request_go_in_order() {
        let kind = ReporterKind::Zulip(tidemill_lang::definition::ZulipDef {
            endpoint: "https://chat.example.org".into(),
            token: SecretText::Text("t".into()),
            stream: None,
            verify: Verify::Yes,
        });
        let told = |build, request, buildset| {
            let notice = Notice { build, request, buildset, ..blank(Moment::End) };
            key(Way::Http, &kind, "z", &notice, "chat.example.org:443")
        };
        assert_eq!(told(Some(1), Some(2), Some(3)), told(None, Some(2), Some(3)), "it waits, and it begins");
        assert_ne!(told(Some(1), Some(2), None), told(None, None, Some(2)));
        assert_eq!(told(None, None, None), None);
    }
}
