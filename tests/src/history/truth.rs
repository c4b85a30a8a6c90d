//! What happened, by id.

use super::Shape;
use super::records::*;
use super::simulate::Simulation;
use super::world::World;
use std::collections::HashMap;

/// Everything, after the end of time.
pub struct Truth {
    pub shape: Shape,
    pub world: World,
    pub branches: Vec<Branch>,
    /// By id, from 1.
    pub changes: Vec<Change>,
    pub buildsets: Vec<Buildset>,
    pub requests: Vec<Request>,
    pub builds: Vec<Build>,
    pub sessions: Vec<Session>,
    /// What each build meant on its line, in the order of `builds`.
    pub meanings: Vec<Meaning>,
    /// Places of builds in the order of their ends.
    pub ends: Vec<usize>,
}

/// What a build meant where it stood.
#[derive(Clone, Debug, Default)]
pub struct Meaning {
    pub previous: Option<u8>,
    pub good: Option<i64>,
    pub broke: bool,
    pub fixed: bool,
    pub bad: Option<i64>,
    pub blamed: Vec<usize>,
}

/// How a line of a builder stands at the end.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub results: u8,
    pub build: i64,
    pub complete_at: i64,
    pub good: Option<i64>,
    pub bad: Option<i64>,
}

/// Records as they come.
#[derive(Default)]
pub(super) struct Collected {
    changes: Vec<Change>,
    buildsets: Vec<Buildset>,
    requests: Vec<Request>,
    builds: Vec<Build>,
    sessions: Vec<Session>,
}

impl Collected {
    pub fn take(&mut self, records: Records) {
        self.changes.extend(records.changes);
        for (set, requests) in records.buildsets {
            self.buildsets.push(set);
            self.requests.extend(requests);
        }
        self.builds.extend(records.builds);
        self.sessions.extend(records.sessions);
    }

    pub fn truth(mut self, simulation: Simulation) -> Truth {
        self.buildsets.sort_unstable_by_key(|s| s.id);
        self.requests.sort_unstable_by_key(|r| r.id);
        self.builds.sort_unstable_by_key(|b| b.id);
        self.sessions.sort_unstable_by_key(|s| s.id);
        let mut truth = Truth {
            shape: simulation.shape,
            world: simulation.world,
            branches: simulation.branches,
            changes: self.changes,
            buildsets: self.buildsets,
            requests: self.requests,
            builds: self.builds,
            sessions: self.sessions,
            meanings: Vec::new(),
            ends: Vec::new(),
        };
        truth.find_meanings();
        truth
    }
}

impl Truth {
    pub fn change(&self, id: i64) -> &Change {
        &self.changes[id as usize - 1]
    }

    pub fn request(&self, id: i64) -> &Request {
        &self.requests[id as usize - 1]
    }

    pub fn buildset(&self, id: i64) -> &Buildset {
        &self.buildsets[id as usize - 1]
    }

    pub fn build(&self, id: i64) -> &Build {
        &self.builds[id as usize - 1]
    }

    pub fn meaning(&self, build: &Build) -> &Meaning {
        &self.meanings[build.id as usize - 1]
    }

    pub fn changes_of(&self, build: &Build) -> &[i64] {
        &self.buildset(self.request(build.request).buildset).changes
    }

    pub fn scheduler(&self, set: &Buildset) -> (&str, &'static str) {
        let project = &self.world.projects[self.branches[set.branch].project];
        super::load::said(project, set.kind)
    }

    pub fn builder(&self, build: &Build) -> &str {
        &self.world.builders[build.builder].name
    }

    pub fn project(&self, builder: usize) -> &str {
        &self.world.projects[self.world.builders[builder].project].name
    }

    /// Builds whose ends lie in this time, in the order of their ends.
    pub fn ended(&self, since: i64, until: i64) -> impl Iterator<Item = &Build> {
        let from = self.ends.partition_point(|b| self.builds[*b].complete_at < since);
        self.ends[from..].iter().map(|b| &self.builds[*b]).take_while(move |b| b.complete_at < until)
    }

    /// How each line of each builder stands after what ended before then.
    pub fn lines(&self, until: i64) -> HashMap<(usize, usize), Standing> {
        let mut lines: HashMap<(usize, usize), Standing> = HashMap::new();
        for build in self.ended(i64::MIN, until).filter(|b| b.results <= FAILURE) {
            let meaning = self.meaning(build);
            let failed = build.results == FAILURE;
            lines.insert(
                (build.builder, build.branch),
                Standing {
                    results: build.results,
                    build: build.id,
                    complete_at: build.complete_at,
                    good: if failed { meaning.good } else { Some(build.id) },
                    bad: meaning.bad.filter(|_| failed),
                },
            );
        }
        lines
    }

    /// Walks each line from its beginning, in the order of ends.
    fn find_meanings(&mut self) {
        self.ends = (0..self.builds.len()).collect();
        self.ends.sort_unstable_by_key(|b| (self.builds[*b].complete_at, *b));
        // The last verdict, the last good build, and the one that broke it.
        type Line = (u8, Option<i64>, Option<i64>);
        let mut lines: HashMap<(usize, usize), Line> = HashMap::new();
        self.meanings = vec![Meaning::default(); self.builds.len()];
        for place in &self.ends {
            let build = &self.builds[*place];
            let line = lines.get(&(build.builder, build.branch)).copied();
            let mut meaning =
                Meaning { previous: line.map(|l| l.0), good: line.and_then(|l| l.1), ..Meaning::default() };
            let bad = line.and_then(|l| l.2);
            match build.results {
                SUCCESS | WARNINGS => {
                    meaning.fixed = bad.is_some();
                    meaning.bad = bad;
                    lines.insert((build.builder, build.branch), (build.results, Some(build.id), None));
                }
                FAILURE => {
                    meaning.broke = bad.is_none() && line.is_some();
                    meaning.bad = bad.or(Some(build.id));
                    lines.insert((build.builder, build.branch), (FAILURE, meaning.good, meaning.bad));
                }
                _ => {}
            }
            if meaning.broke {
                meaning.blamed = self.authors_since(build, meaning.good);
            }
            self.meanings[*place] = meaning;
        }
    }

    /// Authors of the changes that came after those of a good build, by name.
    fn authors_since(&self, build: &Build, good: Option<i64>) -> Vec<usize> {
        let known = good.map_or(0, |g| self.build(g).head);
        let mut authors = Vec::new();
        let mut at = Some(build.head);
        while let Some(change) = at.filter(|c| *c > known) {
            authors.push(self.change(change).author);
            at = self.change(change).parent;
        }
        authors.sort_unstable_by_key(|a| &self.world.authors[*a]);
        authors.dedup();
        authors
    }
}
