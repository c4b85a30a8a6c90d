create or replace view report.change_facts with (security_barrier) as
select h.id as change_id, h.author, h.committer, h.codebase, address_shown(h.repository) as repository, h.branch,
       h.revision, h.category, h.received_at, coalesce(h.when_at, h.received_at) as made_at, f.builder_id,
       b.name as builder, b.project, f.build_id, results_word(f.results) as results, f.complete_at,
       seconds_of(f.complete_at - coalesce(h.when_at, h.received_at)) as lead_seconds, f.buildset_id, f.number,
       f.attempt
  from build_facts f
  join report_builders b on b.id = f.builder_id
  join buildset_changes x on x.buildset_id = f.buildset_id
  join changes h on h.id = x.change_id;
comment on view report.change_facts is
    'One row a change and finished build of it, as long as the change is kept. A lost build (results retry) is followed by another. Filter by complete_at and builder, or by change_id.';
comment on column report.change_facts.change_id is 'The change''s id, as in REST.';
comment on column report.change_facts.author is 'Who made it, as the source says.';
comment on column report.change_facts.committer is 'Who committed it; null: not said.';
comment on column report.change_facts.codebase is 'Its codebase; often empty.';
comment on column report.change_facts.repository is 'Its repository, without user name and password.';
comment on column report.change_facts.branch is 'Its branch; null: the repository''s default.';
comment on column report.change_facts.revision is 'Its revision; null: not said.';
comment on column report.change_facts.category is 'Its category; null: none.';
comment on column report.change_facts.received_at is 'When it came in.';
comment on column report.change_facts.made_at is 'When it was made, as the source says, else when it came in.';
comment on column report.change_facts.builder_id is 'The builder of the build.';
comment on column report.change_facts.builder is 'The builder''s name.';
comment on column report.change_facts.project is 'The builder''s project, as of now; empty: none.';
comment on column report.change_facts.build_id is 'The build.';
comment on column report.change_facts.results is 'The build''s result: success, warnings, failure, skipped, exception, retry or cancelled.';
comment on column report.change_facts.complete_at is 'When the build ended.';
comment on column report.change_facts.lead_seconds is 'From made_at to the build''s end, in seconds.';
comment on column report.change_facts.buildset_id is 'The buildset that the change led to.';
comment on column report.change_facts.number is 'The build''s number.';
comment on column report.change_facts.attempt is 'Which attempt at its request the build was.';
