//! What a notice may say: a build, its steps, logs, properties and changes, read
//! when it is sent. One document for templates and functions of the project
//! (RP-04); the names in it are Buildbot's. Links are added by who knows the address of the pages.

use crate::Result;
use serde_json::Value;
use sqlx::PgConnection;

/// Most steps, changes and logs of a build in one notice.
const MANY: i64 = 200;

/// A build as notices see it; null where retention has taken it.
pub async fn build(c: &mut PgConnection, id: i64, wants: Wants) -> Result<Value> {
    Ok(sqlx::query_scalar!(
        r#"select jsonb_build_object(
               'buildid', b.id, 'number', b.number, 'builderid', b.builder_id, 'buildrequestid', b.request_id,
               'workerid', b.worker_id, 'workername', w.name, 'attempt', b.attempt,
               'state_string', b.state_string, 'results', b.results, 'complete', b.complete_at is not null,
               'started_at', floor(extract(epoch from b.started_at))::bigint,
               'complete_at', floor(extract(epoch from b.complete_at))::bigint,
               'duration', extract(epoch from b.complete_at - b.started_at)::float8,
               'stop_reason', b.stop_reason,
               'builder', jsonb_build_object('builderid', u.id, 'name', u.name, 'tags', u.tags,
                   'description', u.description, 'project', u.project),
               'buildrequest', jsonb_build_object('buildrequestid', r.id, 'priority', r.priority,
                   'submitted_at', floor(extract(epoch from r.submitted_at))::bigint, 'results', r.results),
               'buildset', jsonb_build_object('bsid', s.id, 'reason', s.reason, 'scheduler', s.scheduler,
                   'external_idstring', s.external_idstring, 'results', s.results,
                   'parent_buildid', s.parent_build_id, 'sourcestamps', buildset_stamps(s.id)),
               'prev_build', (select jsonb_build_object('buildid', p.id, 'number', p.number, 'results', p.results)
                                from builds p where p.builder_id = b.builder_id and p.number < b.number
                                 and (p.results is null or p.results <> 5) order by p.number desc limit 1),
               'properties', case when $2 then build_started_with(b.id)
                   || coalesce((select jsonb_object_agg(e.name, jsonb_build_array(e.value, e.source)) from build_properties e where e.build_id = b.id), '{}')
                   end,
               'steps', case when $3 then coalesce((select jsonb_agg(jsonb_build_object(
                        'number', t.number, 'name', t.name, 'state_string', t.state_string, 'results', t.results,
                        'hidden', t.hidden, 'urls', t.urls,
                        'started_at', floor(extract(epoch from t.started_at))::bigint,
                        'complete_at', floor(extract(epoch from t.complete_at))::bigint,
                        'logs', coalesce((select jsonb_agg(jsonb_build_object('logid', l.id, 'name', l.name,
                                     'slug', l.slug, 'type', l.kind, 'num_lines', l.lines, 'bytes', l.bytes)
                                     order by l.number)
                                   from logs l where $4 and l.build_id = b.id and l.step = t.number), '[]'))
                        order by t.number)
                      from (select * from steps x where x.build_id = b.id order by x.number limit $5) t), '[]') end,
               'changes', coalesce((select jsonb_agg(jsonb_build_object(
                        'changeid', h.id, 'author', h.author, 'committer', h.committer, 'comments', h.comments,
                        'revision', h.revision, 'branch', h.branch, 'repository', h.repository,
                        'codebase', h.codebase, 'project', h.project, 'files', to_jsonb(h.files[1:$5::int]),
                        'revlink', h.revlink, 'outsider', h.outsider,
                        'when', floor(extract(epoch from coalesce(h.when_at, h.received_at)))::bigint)
                        order by h.id desc)
                      from unnest(build_changes(b.id, $5::int)) k(id) join changes h on h.id = k.id), '[]'),
               'patch', (select jsonb_build_object('patchid', p.id, 'author', p.author, 'comment', p.comment,
                             'level', p.level, 'subdir', p.subdir, 'bytes', p.size)
                           from buildset_sourcestamps x join sourcestamps y on y.id = x.sourcestamp_id
                           join patches p on p.id = y.patch_id where x.buildset_id = s.id limit 1))
             from builds b
             join builders u on u.id = b.builder_id
             join workers w on w.id = b.worker_id
             join build_requests r on r.id = b.request_id
             join buildsets s on s.id = r.buildset_id
            where b.id = $1"#,
        id,
        wants.properties,
        wants.steps || wants.logs,
        wants.logs,
        MANY
    )
    .fetch_optional(c)
    .await?
    .flatten()
    .unwrap_or(Value::Null))
}

/// What of a build is read beside the build itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    pub properties: bool,
    pub steps: bool,
    pub logs: bool,
}

/// A request and its buildset, for notices of what has no build. It has the builder and the
/// properties that a build of it begins with.
pub async fn request(c: &mut PgConnection, id: i64) -> Result<Value> {
    Ok(sqlx::query_scalar!(
        r#"select jsonb_build_object('buildrequestid', r.id, 'builderid', u.id, 'priority', r.priority,
                  'results', r.results, 'complete', r.complete_at is not null, 'reason', r.complete_reason,
                  'submitted_at', floor(extract(epoch from r.submitted_at))::bigint,
                  'builder', jsonb_build_object('builderid', u.id, 'name', u.name, 'tags', u.tags,
                      'description', u.description, 'project', u.project),
                  'properties', g.default_properties || s.properties || g.properties || jsonb_build_object(
                      'buildername', jsonb_build_array(own.name, 'Builder'),
                      'builderid', jsonb_build_array(own.id, 'Builder')),
                  'buildset', jsonb_build_object('bsid', s.id, 'reason', s.reason, 'scheduler', s.scheduler,
                      'results', s.results, 'sourcestamps', buildset_stamps(s.id)))
             from build_requests r
             join builders own on own.id = r.builder_id
             join builder_settings g on g.id = own.settings_id
             join builders u on u.id = coalesce(virtual_of(r.virtual_id), r.builder_id)
             join buildsets s on s.id = r.buildset_id
            where r.id = $1"#,
        id
    )
    .fetch_optional(c)
    .await?
    .flatten()
    .unwrap_or(Value::Null))
}

/// A buildset, and the last build of each of its requests by id.
pub async fn buildset(c: &mut PgConnection, id: i64) -> Result<Value> {
    Ok(sqlx::query_scalar!(
        r#"select jsonb_build_object('bsid', s.id, 'reason', s.reason, 'scheduler', s.scheduler, 'results', s.results,
                  'external_idstring', s.external_idstring, 'parent_buildid', s.parent_build_id,
                  'submitted_at', floor(extract(epoch from s.submitted_at))::bigint,
                  'complete_at', floor(extract(epoch from s.complete_at))::bigint,
                  'sourcestamps', buildset_stamps(s.id),
                  'builds', coalesce((select jsonb_agg(m.id order by r.id) from build_requests r
                       cross join lateral (select b.id from builds b where b.request_id = r.id
                                            order by b.attempt desc limit 1) m
                      where r.buildset_id = s.id), '[]'))
             from buildsets s where s.id = $1"#,
        id
    )
    .fetch_optional(c)
    .await?
    .flatten()
    .unwrap_or(Value::Null))
}

/// A worker that stays away.
pub async fn worker(c: &mut PgConnection, id: i64) -> Result<Value> {
    Ok(sqlx::query_scalar!(
        r#"select jsonb_build_object('workerid', w.id, 'name', w.name,
                  'last_connection', floor(extract(epoch from x.seen_at))::bigint,
                  'workerinfo', coalesce(x.info, '{}'))
             from workers w
             left join lateral (select s.seen_at, s.info from worker_sessions s where s.worker_id = w.id
                                 order by s.id desc limit 1) x on true
            where w.id = $1"#,
        id
    )
    .fetch_optional(c)
    .await?
    .flatten()
    .unwrap_or(Value::Null))
}

/// A log of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOf {
    pub id: i64,
    pub step: String,
    pub name: String,
    pub bytes: i64,
    /// Its step failed, or broke.
    pub failed: bool,
}

/// The text logs of a build, in the order of its steps.
pub async fn logs(c: &mut PgConnection, build: i64) -> Result<Vec<LogOf>> {
    let rows = sqlx::query!(
        r#"select l.id, s.name as step, l.name, l.bytes, coalesce(s.results in (2, 4), false) as "failed!" from logs l join steps s on s.build_id = l.build_id and s.number = l.step
          where l.build_id = $1 and l.kind <> 'h' order by l.number limit $2"#,
        build,
        MANY
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| LogOf { id: r.id, step: r.step, name: r.name, bytes: r.bytes, failed: r.failed })
        .collect())
}

/// The body of a patch.
pub async fn patch(c: &mut PgConnection, id: i64) -> Result<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar!("select body from patches where id = $1", id).fetch_optional(c).await?)
}
