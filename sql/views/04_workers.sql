create or replace view report.workers with (security_barrier) as
select w.id as worker_id, w.name as worker, w.paused, w.labels || coalesce(l.labels, '{}') as labels,
       coalesce(s.state = 'open' and s.seen_at > now() - interval '45 seconds', false) as connected, s.slots,
       -- Labels are anybody's text: what is no number is none.
       label_number((w.labels || coalesce(l.labels, '{}')) ->> 'hourly_cost') as hourly_cost,
       s.release, s.seen_at as last_seen_at, w.enrolled_at
  from workers w
  left join worker_labels l on l.worker_name = w.name
  left join lateral (select x.state, x.slots, x.release, x.seen_at from worker_sessions x
                      where x.worker_id = w.id order by x.id desc limit 1) s on true;
comment on view report.workers is 'One row a worker. Workers belong to no project: everybody sees all of them.';
comment on column report.workers.worker_id is 'Its id, as in REST; lasts as long as the name.';
comment on column report.workers.worker is 'Its name.';
comment on column report.workers.paused is 'Whether it gets no new builds.';
comment on column report.workers.labels is 'Its labels as {name: value}; those of the project file go before what it says of itself.';
comment on column report.workers.connected is 'Whether it was heard of within 45 s.';
comment on column report.workers.slots is 'How many builds it runs at once, by its last session; null before its first.';
comment on column report.workers.hourly_cost is 'The number in its label hourly_cost, in your currency for an hour; null without one.';
comment on column report.workers.release is 'The release of Tidemill that it ran last; null before its first session.';
comment on column report.workers.last_seen_at is 'When it was last heard of; null before its first session.';
comment on column report.workers.enrolled_at is 'When it was added.';
