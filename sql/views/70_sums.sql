-- Sums over long ranges, in few rows: of whole months, and of days, hours or facts at
-- the two ends. One select each, without SET and without strictness, so that the planner
-- puts it in the place of the call: conditions on its columns reach the indexes of all
-- arms. Bodies are text, as a body that is parsed would hold the views in place.

create or replace function report.utc_trunc(unit text, at timestamptz) returns timestamptz
language sql immutable parallel safe
as $$ select date_trunc($1, $2 at time zone 'UTC') at time zone 'UTC' $$;
comment on function report.utc_trunc(text, timestamptz) is
    'As date_trunc(unit, at, ''UTC''). Of a value that is known beforehand it is computed once a query, where that one is computed for each row.';

-- Months are counted in UTC and not in the time zone of the session, where one may have an hour less.
-- Nothing has ended after now: the month that runs is whole for who asks until now, whose
-- clock may be a little behind.
create or replace function report.months_until(until timestamptz) returns timestamptz
language sql stable parallel safe
as $$ select (date_trunc('month', until at time zone 'UTC')
              + case when until > now() - interval '1 minute' then interval '1 month' else interval '0' end) at time zone 'UTC' $$;
comment on function report.months_until(timestamptz) is
    'Where the last month (UTC) ends of which all builds ended before until. The month that runs is one of them, if until is not more than a minute ago.';

create or replace function report.months_begin(since timestamptz, until timestamptz) returns timestamptz
language sql stable parallel safe
as $$ select case when (date_trunc('month', since at time zone 'UTC' - interval '1 microsecond') + interval '1 month') at time zone 'UTC'
                       < report.months_until(until)
                  then (date_trunc('month', since at time zone 'UTC' - interval '1 microsecond') + interval '1 month') at time zone 'UTC'
                  else until end $$;
comment on function report.months_begin(timestamptz, timestamptz) is
    'Where the first month (UTC) begins that lies from since to until as a whole; until if there is none.';

create or replace function report.months_end(since timestamptz, until timestamptz) returns timestamptz
language sql stable parallel safe
as $$ select case when (date_trunc('month', since at time zone 'UTC' - interval '1 microsecond') + interval '1 month') at time zone 'UTC'
                       < report.months_until(until)
                  then report.months_until(until)
                  else until end $$;
comment on function report.months_end(timestamptz, timestamptz) is
    'Where the last month (UTC) ends that lies from since to until as a whole, as months_until; until if there is none.';

create or replace function report.build_sums(since timestamptz, until timestamptz)
returns table (builder_id bigint, builder text, project text, period timestamptz, builds int, success int,
               warnings int, failure int, skipped int, exception int, retry int, cancelled int, broke int, fixed int,
               seconds float8, queue_seconds float8, log_bytes bigint, span_histogram int[], wait_histogram int[],
               led int, led_changes int, longest_lead_seconds float8, lead_histogram int[])
language sql stable parallel safe
as $$
    select x.builder_id, x.builder, x.project, x.month, x.builds, x.success, x.warnings, x.failure, x.skipped,
           x.exception, x.retry, x.cancelled, x.broke, x.fixed, x.seconds, x.queue_seconds, x.log_bytes,
           x.span_histogram, x.wait_histogram, x.led, x.led_changes, x.longest_lead_seconds, x.lead_histogram
      from report.build_months x
     where x.month >= report.months_begin($1, $2) and x.month < report.months_end($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.day, x.builds, x.success, x.warnings, x.failure, x.skipped,
           x.exception, x.retry, x.cancelled, x.broke, x.fixed, x.seconds, x.queue_seconds, x.log_bytes,
           x.span_histogram, x.wait_histogram, x.led, x.led_changes, x.longest_lead_seconds, x.lead_histogram
      from report.build_days x
     where x.day >= $1 and x.day < report.months_begin($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.day, x.builds, x.success, x.warnings, x.failure, x.skipped,
           x.exception, x.retry, x.cancelled, x.broke, x.fixed, x.seconds, x.queue_seconds, x.log_bytes,
           x.span_histogram, x.wait_histogram, x.led, x.led_changes, x.longest_lead_seconds, x.lead_histogram
      from report.build_days x
     where x.day >= report.months_end($1, $2) and x.day < $2
$$;
comment on function report.build_sums(timestamptz, timestamptz) is
    'Rows of build_months for the whole months from since to until, and of build_days for what is left at the two ends: days (UTC) that begin from since on and before until. Columns are theirs; period is the beginning of the month or day. For sums over a long range.';

create or replace function report.step_sums(since timestamptz, until timestamptz)
returns table (builder_id bigint, builder text, project text, period timestamptz, step text, runs int, bad int,
               seconds float8, lock_seconds float8, span_histogram int[])
language sql stable parallel safe
as $$
    select x.builder_id, x.builder, x.project, x.month, x.step, x.runs, x.bad, x.seconds, x.lock_seconds,
           x.span_histogram
      from report.step_months x
     where x.month >= report.months_begin($1, $2) and x.month < report.months_end($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.day, x.step, x.runs, x.bad, x.seconds, x.lock_seconds,
           x.span_histogram
      from report.step_days x
     where x.day >= $1 and x.day < report.months_begin($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.day, x.step, x.runs, x.bad, x.seconds, x.lock_seconds,
           x.span_histogram
      from report.step_days x
     where x.day >= report.months_end($1, $2) and x.day < $2
$$;
comment on function report.step_sums(timestamptz, timestamptz) is
    'As build_sums, of step_months and step_days.';

create or replace function report.request_sums(since timestamptz, until timestamptz)
returns table (builder_id bigint, builder text, project text, period timestamptz, requests int, collapsed int,
               started int, for_worker int, for_lock int, for_back_off int, worker_seconds float8,
               lock_seconds float8, back_off_seconds float8)
language sql stable parallel safe
as $$
    select x.builder_id, x.builder, x.project, x.month, x.requests, x.collapsed, x.started, x.for_worker, x.for_lock,
           x.for_back_off, x.worker_seconds, x.lock_seconds, x.back_off_seconds
      from report.request_months x
     where x.month >= report.months_begin($1, $2) and x.month < report.months_end($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.complete_at, 1, (x.collapsed_into is not null)::int, x.started::int,
           case when x.started and x.why = 'worker' then 1 else 0 end,
           case when x.started and x.why = 'lock' then 1 else 0 end,
           case when x.started and x.why = 'back-off' then 1 else 0 end,
           case when x.started then x.worker_seconds else 0 end,
           case when x.started then x.lock_seconds else 0 end, case when x.started then x.back_off_seconds else 0 end
      from (select f.*, f.claimed_at is not null and f.collapsed_into is null as started from report.request_facts f) x
     where x.complete_at >= $1 and x.complete_at < report.months_begin($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.complete_at, 1, (x.collapsed_into is not null)::int, x.started::int,
           case when x.started and x.why = 'worker' then 1 else 0 end,
           case when x.started and x.why = 'lock' then 1 else 0 end,
           case when x.started and x.why = 'back-off' then 1 else 0 end,
           case when x.started then x.worker_seconds else 0 end,
           case when x.started then x.lock_seconds else 0 end, case when x.started then x.back_off_seconds else 0 end
      from (select f.*, f.claimed_at is not null and f.collapsed_into is null as started from report.request_facts f) x
     where x.complete_at >= report.months_end($1, $2) and x.complete_at < $2
$$;
comment on function report.request_sums(timestamptz, timestamptz) is
    'As build_sums, of request_months for whole months and of request_facts, exactly from since to until, at the two ends. There a row is a request, and period its end.';

create or replace function report.branch_sums(since timestamptz, until timestamptz)
returns table (builder_id bigint, builder text, project text, period timestamptz, branch text, builds int, good int,
               failed int, last_complete_at timestamptz, last_good_at timestamptz, last_failed_at timestamptz)
language sql stable parallel safe
as $$
    select x.builder_id, x.builder, x.project, x.month, x.branch, x.builds, x.good, x.failed, x.last_complete_at,
           x.last_good_at, x.last_failed_at
      from report.branch_months x
     where x.month >= report.months_begin($1, $2) and x.month < report.months_end($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.complete_at, x.branch, 1, (x.kind = 'good')::int,
           (x.kind = 'tests')::int, x.complete_at, case when x.kind = 'good' then x.complete_at end,
           case when x.kind = 'tests' then x.complete_at end
      from report.build_facts x
     where x.complete_at >= $1 and x.complete_at < report.months_begin($1, $2)
     union all
    select x.builder_id, x.builder, x.project, x.complete_at, x.branch, 1, (x.kind = 'good')::int,
           (x.kind = 'tests')::int, x.complete_at, case when x.kind = 'good' then x.complete_at end,
           case when x.kind = 'tests' then x.complete_at end
      from report.build_facts x
     where x.complete_at >= report.months_end($1, $2) and x.complete_at < $2
$$;
comment on function report.branch_sums(timestamptz, timestamptz) is
    'As build_sums, of branch_months for whole months and of build_facts, exactly from since to until, at the two ends. There a row is a build, and period its end.';

create or replace function report.worker_sums(since timestamptz, until timestamptz)
returns table (worker_id bigint, worker text, project text, period timestamptz, builds int, lost int,
               busy_seconds float8)
language sql stable parallel safe
as $$
    select x.worker_id, x.worker, x.project, x.month, x.builds, x.lost, x.busy_seconds
      from report.worker_months x
     where x.month >= report.months_begin($1, $2) and x.month < report.months_end($1, $2)
     union all
    select x.worker_id, x.worker, x.project, x.hour, x.builds, x.lost, x.busy_seconds
      from report.worker_use x
     where x.hour >= $1 and x.hour < report.months_begin($1, $2)
     union all
    select x.worker_id, x.worker, x.project, x.hour, x.builds, x.lost, x.busy_seconds
      from report.worker_use x
     where x.hour >= report.months_end($1, $2) and x.hour < $2
$$;
comment on function report.worker_sums(timestamptz, timestamptz) is
    'As build_sums, of worker_months for whole months and of worker_use, hours (UTC) that begin from since on and before until, at the two ends.';
