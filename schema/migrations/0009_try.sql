-- What people try: a buildset that came from `tidemill try`. With the key that
-- the client gave, the same try sent again finds the first.
create table tries (
    buildset_id     bigint primary key references buildsets on delete cascade,
    scheduler       text not null,
    owner           text not null,
    idempotency_key text,
    submitted_at    timestamptz not null default tidemill_now(),
    unique (owner, idempotency_key)
);
comment on table tries is 'Which buildsets people tried, so that the same try sent again is known; for 30 days.';
-- For tries_prune().
create index tries_submitted on tries (submitted_at);
