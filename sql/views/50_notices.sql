-- Of one that tells of a whole buildset, nothing is shown unless all its builders are.
create or replace view report.notices with (security_barrier) as
select d.id as notice_id, d.at, d.reporter, t.kind as destination_kind, t.name as destination,
       case when t.kind in ('mail', 'irc') then d.address end as address, d.state, d.builder_id, b.name as builder,
       b.project, d.build_id, d.attempts, d.planned_at, d.ended_at, seconds_of(d.ended_at - d.planned_at) as seconds,
       d.moment, d.mode
  from deliveries d
  join destinations t on t.id = d.destination_id
  left join report_builders b on b.id = d.builder_id
 where case when d.builder_id is null
            -- By the few requests of the buildset, however many notices there are: an aggregate is not hashed.
            then d.buildset_id is null
                 or coalesce((select bool_and(q.builder_id in (select v.id from report_builders v))
                                from build_requests q where q.buildset_id = d.buildset_id), true)
            else b.id is not null end;
comment on view report.notices is
    'One row a notice to one address, and what became of it. Filter by ended_at, which has an index, or by build_id.';
comment on column report.notices.notice_id is 'Its id, as in REST.';
comment on column report.notices.at is 'When what it tells happened.';
comment on column report.notices.reporter is 'The reporter that sends it.';
comment on column report.notices.destination_kind is 'mail, irc, http or forge.';
comment on column report.notices.destination is 'The server that it is handed to, or the IRC network.';
comment on column report.notices.address is
    'To whom: a mail address, a channel or a nick. Null of http and forge, whose addresses may hold what proves something.';
comment on column report.notices.state is 'due, sending, sent, parked, folded (into another), superseded or expired.';
comment on column report.notices.builder_id is 'The builder that it tells of; null: of none, or of a whole buildset.';
comment on column report.notices.builder is 'The builder''s name; null as builder_id.';
comment on column report.notices.project is 'The builder''s project, as of now; empty: none; null as builder_id.';
comment on column report.notices.build_id is 'The build that it tells of; null: of none.';
comment on column report.notices.attempts is 'How often it was tried.';
comment on column report.notices.planned_at is 'When it was planned.';
comment on column report.notices.ended_at is 'When it was sent or given up; null: not yet.';
comment on column report.notices.seconds is 'From planned_at to ended_at, in seconds; null: not yet.';
comment on column report.notices.moment is 'What it tells: start or end of a build, of a buildset, a request, a worker that is missing, a test of the reporter.';
comment on column report.notices.mode is 'As what: passing, failing, problem, change and so on; may be empty.';
