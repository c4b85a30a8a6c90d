//! Which builds and requests a generator is about (RP-02).

use tidemill_lang::definition::GeneratorDef;
use tidemill_model::SourceStamp;
use tidemill_schema::notices::facts::{BuildFacts, RequestFacts};

pub(super) fn build(generator: &GeneratorDef, build: &BuildFacts) -> bool {
    takes(generator, &build.builder, &build.tags, &build.scheduler, &build.stamps)
}

pub(super) fn request(generator: &GeneratorDef, request: &RequestFacts) -> bool {
    takes(generator, &request.builder, &request.tags, &request.scheduler, &request.stamps)
}

fn takes(generator: &GeneratorDef, builder: &str, tags: &[String], scheduler: &str, stamps: &[SourceStamp]) -> bool {
    let named = |names: &Option<Vec<String>>, name: &str| names.as_ref().is_none_or(|n| n.iter().any(|n| n == name));
    named(&generator.builders, builder)
        && generator.tags.as_ref().is_none_or(|wanted| wanted.iter().any(|tag| tags.contains(tag)))
        && named(&generator.schedulers, scheduler)
        && generator.branches.as_ref().is_none_or(|wanted| stamps.iter().any(|s| wanted.contains(&s.branch)))
}
