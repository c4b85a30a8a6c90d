//! [log-ingest] One step that prints 100 MB of varied lines.

use crate::meter::memory_mib;
use crate::{Line, Size};
use std::time::Instant;
use tidemill_model::log::{Channel, ChunkWriter};
use tidemill_tests::Cluster;

const NAME: &str = "log-ingest";

pub async fn run(size: Size) -> Vec<Line> {
    let mb = size.pick(20, 100);
    let mut t = Cluster::with(true, 60).await;
    let m = t.master().await;
    let file = t.dir().join("lines");
    std::fs::write(&file, lines(mb)).expect("the bench's folder is writable");
    let text = format!(
        r#"
c = {{}}
f = util.BuildFactory([steps.ShellCommand(name = "cat", command = ["cat", {file:?}])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
"#
    );
    t.configure(m, &text).await;
    let w = t.worker("w", &t.master_url(m), 1).await;
    let floor = bare(&t, &file).await;
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 0);
    let build = t.build_of(request, "finished").await;
    // From the step's start to the commit of the last chunk, which is that of the build's end or before.
    let seconds: f64 = sqlx::query_scalar(
        "select extract(epoch from e.at - s.started_at)::float8 from steps s, events e
          where s.build_id = $1 and e.build_id = $1 and e.kind = 'builds.finished'",
    )
    .bind(build)
    .fetch_one(t.db.pool())
    .await
    .expect("a finished build has its event");
    let stored: i64 = sqlx::query_scalar("select bytes from logs where build_id = $1 and not incomplete")
        .bind(build)
        .fetch_one(t.db.pool())
        .await
        .expect("the log is whole");
    let rate = stored as f64 / 1e6 / seconds;
    vec![
        Line::rate(
            NAME,
            "to committed rows, against inserting the same compressed chunks directly",
            rate,
            "MB/s",
            floor,
        ),
        Line::alone(NAME, "worker, most memory", memory_mib(t.workers[w].process.pid(), "VmHWM"), "MiB"),
        Line::alone(NAME, "master, most memory", memory_mib(t.masters[m].process.pid(), "VmHWM"), "MiB"),
    ]
}

/// Lines of a verbose compiler's kind, all different.
fn lines(mb: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(mb * 1_000_000 + 200);
    let mut x = 88172645463325252u64;
    let mut i = 0;
    while out.len() < mb * 1_000_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        i += 1;
        out.extend(
            format!(
                "[{i:>8}] cc -O2 -c src/module_{}/file_{:x}.c -o build/{:x}.o  # {} warnings\n",
                x % 97,
                x >> 40,
                x >> 20,
                x % 7
            )
            .bytes(),
        );
    }
    out
}

/// The floor: compress into chunks and insert them, sixteen a commit, one connection.
async fn bare(t: &Cluster, file: &std::path::Path) -> f64 {
    sqlx::raw_sql("create table floor_chunk (id bigint, first_byte bigint, data bytea, primary key (id, first_byte)); alter table floor_chunk alter data set storage external")
        .execute(t.db.pool())
        .await
        .expect("a table can be made");
    let text = std::fs::read(file).expect("the file is there");
    let started = Instant::now();
    let mut writer = ChunkWriter::new();
    let mut chunks = Vec::new();
    for part in text.chunks(1 << 20) {
        writer.write(Channel::Stdout, part, |c| chunks.push(c));
        if chunks.len() < 16 {
            continue;
        }
        let offsets: Vec<i64> = chunks.iter().map(|c| c.first_byte as i64).collect();
        let data: Vec<&[u8]> = chunks.iter().map(|c| c.data.as_ref()).collect();
        sqlx::query("insert into floor_chunk select 1, * from unnest($1::bigint[], $2::bytea[])")
            .bind(offsets)
            .bind(data)
            .execute(t.db.pool())
            .await
            .expect("insert");
        chunks.clear();
    }
    text.len() as f64 / 1e6 / started.elapsed().as_secs_f64()
}
