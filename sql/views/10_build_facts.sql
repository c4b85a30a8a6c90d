create or replace view report.build_facts with (security_barrier) as
select f.build_id, f.builder_id, b.name as builder, b.project, f.number, f.branch, f.revision, f.codebase,
       address_shown(f.repository) as repository, f.buildset_id, f.request_id, f.attempt, f.worker_id,
       w.name as worker, f.scheduler, f.reason, f.submitted_at, f.waiting_since, f.started_at, f.complete_at,
       results_word(f.results) as results, results_kind(f.results) as kind,
       seconds_of(f.started_at - f.waiting_since) as queue_seconds,
       seconds_of(f.complete_at - f.started_at) as seconds,
       seconds_of(f.lock_wait) as lock_seconds, f.failed_step, f.steps, f.log_bytes, f.changes, f.first_change_at,
       seconds_of(f.complete_at - f.first_change_at) as lead_seconds,
       results_word(f.previous_results) as previous_results, f.good_build_id, f.turn, f.bad_build_id, f.bad_since,
       f.blamed, f.line
  from build_facts f
  join report_builders b on b.id = f.builder_id
  left join workers w on w.id = f.worker_id;
comment on view report.build_facts is
    'One row a finished build. Filter by complete_at, and by builder or builder_id where you can: they have indexes.';
comment on column report.build_facts.build_id is 'Its id, as in REST.';
comment on column report.build_facts.builder_id is 'Its builder''s id.';
comment on column report.build_facts.builder is 'Its builder''s name.';
comment on column report.build_facts.project is 'Its builder''s project, as of now; empty: none.';
comment on column report.build_facts.number is 'Its number among builds of the builder. Numbers may have gaps.';
comment on column report.build_facts.branch is 'Branch of its first source stamp by codebase; null: the repository''s default.';
comment on column report.build_facts.revision is 'Revision of that source stamp that was asked for; null: the newest.';
comment on column report.build_facts.codebase is 'Codebase of that source stamp; often empty.';
comment on column report.build_facts.repository is 'Repository of that source stamp, without user name and password.';
comment on column report.build_facts.buildset_id is 'The buildset it is of: one decision of a scheduler.';
comment on column report.build_facts.request_id is 'The request it is of. Attempts of one request share it.';
comment on column report.build_facts.attempt is 'Which attempt at its request it was: 1 the first.';
comment on column report.build_facts.worker_id is 'The worker it ran on.';
comment on column report.build_facts.worker is 'That worker''s name; null if it is gone.';
comment on column report.build_facts.scheduler is 'Which scheduler asked for it; empty: none.';
comment on column report.build_facts.reason is 'Why it was asked for, in words.';
comment on column report.build_facts.submitted_at is 'When its request was made.';
comment on column report.build_facts.waiting_since is 'When this attempt began to wait: as submitted_at, or when the attempt before was lost.';
comment on column report.build_facts.started_at is 'When a worker took it.';
comment on column report.build_facts.complete_at is 'When it ended.';
comment on column report.build_facts.results is 'success, warnings, failure, skipped, exception, retry or cancelled.';
comment on column report.build_facts.kind is
    'Whose matter that is: good (success, warnings), tests (failure: what was built), infrastructure (exception), cancelled, lost (retry), skipped.';
comment on column report.build_facts.queue_seconds is 'How long this attempt waited: started_at - waiting_since, in seconds.';
comment on column report.build_facts.seconds is 'How long it ran, in seconds.';
comment on column report.build_facts.lock_seconds is 'How much of that its steps waited for locks, in seconds.';
comment on column report.build_facts.failed_step is 'The first of its steps with its worst result; null: it ended well.';
comment on column report.build_facts.steps is 'How many steps it began.';
comment on column report.build_facts.log_bytes is 'Size of its logs together, in bytes, before compression.';
comment on column report.build_facts.changes is 'How many changes led to it.';
comment on column report.build_facts.first_change_at is 'When the oldest of those was made; null without changes.';
comment on column report.build_facts.lead_seconds is 'From that to its end, in seconds; null without changes.';
comment on column report.build_facts.previous_results is
    'The verdict (success, warnings, failure) before it on its line; null: there was none.';
comment on column report.build_facts.good_build_id is 'The last good build of its line before it; null: none.';
comment on column report.build_facts.turn is 'broke: a failure after a good one; fixed: good after a failure; null: neither.';
comment on column report.build_facts.bad_build_id is 'The build that broke its line, up to and in the one that fixed it (of a line that was never good: its first); null while the line is good.';
comment on column report.build_facts.bad_since is 'When that one ended.';
comment on column report.build_facts.blamed is 'Of one that broke: authors of the changes since the last good one. Empty otherwise.';
comment on column report.build_facts.line is 'Its line: builds of one builder of the same codebases, repositories and branches share it.';
