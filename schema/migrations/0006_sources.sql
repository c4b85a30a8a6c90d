-- What a build brought since the last good one of its kind.

create table build_successes (
    builder_id bigint not null,
    line       uuid not null,
    number     bigint not null,
    build_id   bigint not null,
    primary key (builder_id, line, number)
);
comment on table build_successes is
    'Builds that ended with SUCCESS, by what they built: the last one before a build is one probe. Written with the result. No foreign keys, as for all hot tables.';
comment on column build_successes.line is 'buildset_line() of its sources.';

-- Codebases, repositories and branches of a buildset, without revisions.
create function buildset_line(buildset bigint) returns uuid
language sql stable
as $$
    select md5(coalesce(jsonb_agg(jsonb_build_array(s.codebase, s.repository, s.branch)
                                  order by s.codebase, s.repository, s.branch), '[]')::text)::uuid
      from buildset_sourcestamps x join sourcestamps s on s.id = x.sourcestamp_id
     where x.buildset_id = buildset
$$;

-- The newest change of each source stamp of a buildset.
create function buildset_heads(buildset bigint) returns bigint[]
language sql stable
as $$
    select array(select (select h.id from changes h where h.sourcestamp_id = x.sourcestamp_id order by h.id desc limit 1)
                   from buildset_sourcestamps x where x.buildset_id = buildset)
$$;

-- The changes that `heads` come from and `known` do not, newest first, at most
-- so many. Parents have smaller ids, so that taking the greatest id of both
-- sides first meets each change after all its children: what `known` come from
-- is known by then. Each step is one probe of the primary key.
create function changes_between(heads bigint[], known bigint[], most int) returns bigint[]
language plpgsql stable
as $$
declare
    mine  bigint[] := array_remove(heads, null);
    found bigint[] := '{}';
    steps int := 0;
    top   bigint;
    above bigint[];
begin
    known := array_remove(known, null);
    while cardinality(mine) > 0 and cardinality(found) < most and steps < 20 * most loop
        steps := steps + 1;
        select max(x) into top from unnest(mine || known) x;
        select parent_ids into above from changes where id = top;
        if top = any(known) then
            mine := array_remove(mine, top);
            known := array(select distinct x from unnest(known || above) x where x <> top);
        else
            found := found || top;
            mine := array(select distinct x from unnest(mine || above) x where x <> top);
        end if;
    end loop;
    return found;
end
$$;

-- The changes of a build: its own and their ancestors, back to the last build of
-- its builder with the same sources that ended with SUCCESS (D-50).
create function build_changes(build bigint, most int) returns bigint[]
language sql stable
as $$
    select changes_between(buildset_heads(r.buildset_id),
               coalesce((select buildset_heads(g.buildset_id)
                           from build_successes s
                           join builds o on o.id = s.build_id
                           join build_requests g on g.id = o.request_id
                          where s.builder_id = b.builder_id and s.line = buildset_line(r.buildset_id)
                            and s.number < b.number
                          order by s.number desc limit 1), '{}'),
               most)
      from builds b join build_requests r on r.id = b.request_id
     where b.id = build
$$;
