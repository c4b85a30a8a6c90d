//! Who is told of a build because it is about their changes.
//!
//! Strangers are not blamed for what was broken before them: unless the project
//! says otherwise, only a builder that was good on these branches and turned bad
//! has people to tell, and they are the authors of what came since it was good.

use super::{Facts, To};
use tidemill_lang::definition::{BlameDef, BlameWhen};
use tidemill_model::Results;
use tidemill_schema::notices::facts::BuildFacts;

/// The people of one build. Who asked for it is told whenever the build is.
pub(super) fn people(blame: &BlameDef, build: &BuildFacts) -> Vec<To> {
    if blame.when == BlameWhen::Never {
        return vec![];
    }
    let person = |name: &String, why| To::Person { name: name.clone(), why };
    let mut people: Vec<To> = build.owners.iter().map(|name| person(name, "owner")).collect();
    let authors = match blame.when {
        BlameWhen::Always => true,
        BlameWhen::Turn => turned_bad(build) && blame.mute_flaky.is_none_or(|n| turns(build) < n),
        BlameWhen::Never => false,
    };
    if authors {
        let known = |name: &&String| !build.owners.contains(name);
        people.extend(build.authors.iter().filter(known).map(|name| person(name, "author")));
    }
    people
}

/// The people of all builds of a buildset; a name with several reasons has the first.
pub(super) fn people_of_set(blame: &BlameDef, facts: &Facts, buildset: Option<i64>) -> Vec<To> {
    let set = buildset.and_then(|id| facts.buildsets.get(&id));
    let builds = set.into_iter().flat_map(|s| &s.builds).filter_map(|id| facts.builds.get(id));
    let mut people: Vec<To> = vec![];
    for to in builds.flat_map(|build| self::people(blame, build)) {
        let same =
            |other: &To| matches!((other, &to), (To::Person { name: a, .. }, To::Person { name: b, .. }) if a == b);
        if !people.iter().any(same) {
            people.push(to);
        }
    }
    people
}

/// From a known good build of the same branches to a failure. An exception is nobody's change.
fn turned_bad(build: &BuildFacts) -> bool {
    build.results == Some(Results::Failure) && build.line_verdict.is_some_and(Results::is_good)
}

/// How often the builder's last builds, this one included, turned from good to bad or back.
fn turns(build: &BuildFacts) -> u32 {
    let all = std::iter::once(build.results).chain(build.history.iter().copied()).take(BlameDef::WINDOW);
    let verdicts: Vec<bool> =
        all.flatten().filter(|r| r.is_good() || *r == Results::Failure).map(Results::is_good).collect();
    verdicts.windows(2).filter(|pair| pair[0] != pair[1]).count() as u32
}
