create or replace view report.request_facts with (security_barrier) as
select f.request_id, f.builder_id, b.name as builder, b.project, f.buildset_id, f.scheduler, f.reason, f.priority,
       f.submitted_at, f.claimed_at, f.complete_at, results_word(f.results) as results, f.attempts,
       f.collapsed_into, seconds_of(f.claimed_at - f.submitted_at) as queue_seconds,
       seconds_of(f.worker_wait) as worker_seconds, seconds_of(f.lock_wait) as lock_seconds,
       seconds_of(f.back_off) as back_off_seconds, f.why, f.ended_because
  from request_facts f
  join report_builders b on b.id = f.builder_id;
comment on view report.request_facts is
    'One row a request for a build that is over, built or not. Filter by complete_at, builder or builder_id.';
comment on column report.request_facts.request_id is 'Its id, as in REST.';
comment on column report.request_facts.builder_id is 'The builder that its builds appear under.';
comment on column report.request_facts.builder is 'The builder''s name.';
comment on column report.request_facts.project is 'The builder''s project, as of now; empty: none.';
comment on column report.request_facts.buildset_id is 'The buildset it is of.';
comment on column report.request_facts.scheduler is 'Which scheduler made it; empty: none.';
comment on column report.request_facts.reason is 'Why, in words.';
comment on column report.request_facts.priority is 'Its priority at the end; the higher goes first.';
comment on column report.request_facts.submitted_at is 'When it was made.';
comment on column report.request_facts.claimed_at is 'When its first build started; null: it was never built.';
comment on column report.request_facts.complete_at is 'When it was over.';
comment on column report.request_facts.results is 'success, warnings, failure, skipped, exception or cancelled.';
comment on column report.request_facts.attempts is 'How many builds were begun for it.';
comment on column report.request_facts.collapsed_into is 'The newer request that it became part of; null: none.';
comment on column report.request_facts.queue_seconds is 'From submitted_at to claimed_at, in seconds; null if it was never built.';
comment on column report.request_facts.worker_seconds is 'How much of its waiting was for a free worker, or for its builder to be resumed, in seconds.';
comment on column report.request_facts.lock_seconds is 'How much of its waiting was for locks, in seconds.';
comment on column report.request_facts.back_off_seconds is 'How much of its waiting was a pause between its attempts, because the one before was lost, in seconds.';
comment on column report.request_facts.why is 'What most of the waiting was for: worker, lock or back-off; null: it waited less than a second, or became part of another.';
comment on column report.request_facts.ended_because is 'Why it ended without a build that says it, in words; null where its builds tell.';
