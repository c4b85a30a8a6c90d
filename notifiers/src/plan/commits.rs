//! Which commits a forge is told of.

use super::{Facts, Notice, To};
use crate::forge::Repository;
use tidemill_lang::definition::ReporterKind;
use tidemill_model::SourceStamp;
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::facts::BuildFacts;
use url::Url;

/// The commits that a build, request or buildset is of. Without a revision there is none until the
/// build has found it. Of several codebases those are told that the forge has, where that can be
/// seen: the others would only be refused there.
pub(super) fn commits(kind: &ReporterKind, facts: &Facts, notice: &Notice, build: Option<&BuildFacts>) -> Vec<To> {
    let set = notice.buildset.and_then(|id| facts.buildsets.get(&id));
    let of_request = || notice.request.and_then(|id| facts.requests.get(&id)).map(|r| r.stamps.as_slice());
    let stamps = build.map(|b| b.stamps.as_slice()).or_else(of_request).or_else(|| set.map(|s| s.stamps.as_slice()));
    let first = || set.and_then(|s| s.builds.iter().find_map(|id| facts.builds.get(id)));
    let ended = build.or_else(first).filter(|_| matches!(notice.moment, Moment::End | Moment::Buildset));
    let known = stamps.unwrap_or_default().iter().filter(|s| !s.repository.is_empty()).filter_map(|stamp| {
        let revision = stamp.revision.as_deref().or_else(|| ended?.got_revision(&stamp.codebase))?;
        Some((stamp, revision.to_owned()))
    });
    let known: Vec<(&SourceStamp, String)> = known.collect();
    let forges = match address(kind) {
        Some(address) => forge_of(address, &known),
        None => vec![true; known.len()],
    };
    let told = known.into_iter().zip(forges).filter(|(_, told)| *told);
    told.map(|((stamp, revision), _)| To::Commit {
        codebase: stamp.codebase.clone(),
        repository: stamp.repository.clone(),
        revision,
        branch: stamp.branch.clone(),
    })
    .collect()
}

/// Of forges that know a repository by its address: the forge's own. Gerrit has names for projects.
fn address(kind: &ReporterKind) -> Option<&str> {
    use ReporterKind::*;
    Some(match kind {
        Github(forge) | GithubComment(forge) | Gitlab(forge) | Gitea(forge) => &forge.base_url,
        Bitbucket(forge) => &forge.base_url,
        BitbucketServer(forge) | BitbucketServerCore(forge) | BitbucketServerComment(forge) => &forge.base_url,
        _ => return None,
    })
}

/// Those on its host; where none is, those that could be of any forge; else all, so that it is said why not.
fn forge_of(address: &str, stamps: &[(&SourceStamp, String)]) -> Vec<bool> {
    let parsed: Vec<Option<Repository>> = stamps.iter().map(|(s, _)| Repository::parse(&s.repository).ok()).collect();
    let site = Url::parse(address).ok().and_then(|u| u.host_str().map(site)).unwrap_or_default();
    let here: Vec<bool> = parsed.iter().map(|r| r.as_ref().is_some_and(|r| self::site(&r.host) == site)).collect();
    if here.contains(&true) {
        return here;
    }
    let any: Vec<bool> = parsed.iter().map(Option::is_some).collect();
    if any.contains(&true) { any } else { vec![true; stamps.len()] }
}

/// A host without what says by which of its doors.
fn site(host: &str) -> String {
    let host = host.to_lowercase();
    let door = ["api.", "ssh.", "altssh.", "www."].iter().find_map(|door| host.strip_prefix(door));
    door.map_or_else(|| host.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::blank;
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;
    use tidemill_lang::definition::{ForgeDef, SecretText, Verify};

    fn hub() -> ReporterKind {
        ReporterKind::Github(ForgeDef {
            base_url: "https://api.github.com".into(),
            token: SecretText::Text("t".into()),
            context: None,
            context_pr: None,
            warning_as_success: false,
            verify: Verify::Yes,
        })
    }

    fn stamp(codebase: &str, repository: &str, revision: Option<&str>) -> SourceStamp {
        SourceStamp {
            codebase: codebase.into(),
            repository: repository.into(),
            revision: revision.map(Into::into),
            ..SourceStamp::default()
        }
    }

    fn told(moment: Moment, build: BuildFacts) -> Vec<String> {
        let facts = Facts { builds: BTreeMap::from([(1, build.clone())]), ..Facts::default() };
        let notice = Notice { build: Some(1), ..blank(moment) };
        let all = commits(&hub(), &facts, &notice, Some(&build)).into_iter().map(|to| match to {
            To::Commit { repository, revision, .. } => format!("{repository}@{revision}"),
            other => panic!("{other:?}"),
        });
        all.collect()
    }

    #[test]
    fn a_build_without_a_revision_is_told_once_it_has_found_one() {
        let stamps = vec![stamp("", "https://github.com/o/r", None)];
        let build = BuildFacts { stamps, got_revision: Some(json!("abc")), ..BuildFacts::default() };
        assert!(told(Moment::Start, build.clone()).is_empty());
        assert_eq!(told(Moment::End, build.clone()), ["https://github.com/o/r@abc"]);
        assert_eq!(told(Moment::Buildset, build.clone()), ["https://github.com/o/r@abc"]);
        assert!(told(Moment::End, BuildFacts { got_revision: None, ..build }).is_empty());

        let stamps = vec![stamp("a", "https://github.com/o/a", None), stamp("b", "https://github.com/o/b", Some("b1"))];
        let got_revision = Some(json!({"a": "a1", "b": "b2"}));
        let build = BuildFacts { stamps, got_revision, ..BuildFacts::default() };
        assert_eq!(told(Moment::End, build.clone()), ["https://github.com/o/a@a1", "https://github.com/o/b@b1"]);
        assert_eq!(told(Moment::Start, build), ["https://github.com/o/b@b1"]);
    }

    #[test]
    fn of_several_codebases_those_are_told_that_the_forge_has() {
        let table: &[(&[&str], &[usize])] = &[
            (&["https://github.com/o/r", "https://gitlab.com/o/r"], &[0]),
            (&["git@ssh.github.com:o/r.git", "/srv/git/x.git"], &[0]),
            // Behind another name it may be the same forge.
            (&["https://mirror.example.org/o/r", "/srv/git/x.git"], &[0]),
            (&["https://mirror.example.org/o/r", "https://other.example.org/o/r"], &[0, 1]),
            (&["/srv/git/x.git"], &[0]),
        ];
        for (repositories, expected) in table {
            let stamps = repositories.iter().map(|r| stamp(r, r, Some("abc"))).collect();
            let build = BuildFacts { stamps, ..BuildFacts::default() };
            let expected: Vec<String> = expected.iter().map(|i| format!("{}@abc", repositories[*i])).collect();
            assert_eq!(told(Moment::End, build), expected, "{repositories:?}");
        }
    }
}
