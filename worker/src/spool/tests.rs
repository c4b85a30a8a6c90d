use super::*;
use tidemill_model::Results;
use tidemill_model::log::{Channel, ChunkWriter};
use tidemill_model::wire::{BatchHead, decode_batch, encode_head};

fn frames(batch: &Batch) -> Vec<Frame> {
    let mut body = BytesMut::new();
    encode_head(&mut body, &BatchHead { session: 1, build: 1, token: "t".into(), batch: batch.number, sent_at_us: 0 });
    body.extend_from_slice(&batch.frames);
    decode_batch(body.freeze()).unwrap().1
}

fn started(n: i64) -> Event {
    Event::BuildStarted { at_us: n }
}

fn finish() -> Event {
    Event::BuildFinished { results: Results::Success, summary: "build successful".into(), at_us: 9 }
}

fn spool(dir: &Path) -> Spool {
    Spool::new(dir.join("7"), Arc::new(Budget::new(u64::MAX)))
}

fn noise(spool: &Spool, chunks: usize) -> Vec<Frame> {
    let mut writer = ChunkWriter::new();
    let mut state = 1u64;
    let mut all = Vec::new();
    for _ in 0..chunks {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(60_000)
        .collect();
        writer.write(Channel::Stdout, &bytes, |_| unreachable!("less than a chunk"));
        let chunk = writer.cut().unwrap();
        all.push(Frame::Log { log: 1, chunk: chunk.clone() });
        spool.chunk(1, chunk);
    }
    all
}

#[tokio::test]
async fn a_short_build_is_one_batch_and_never_touches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    spool.event(started(1));
    spool.event(finish());
    spool.ready().await;
    let batch = spool.take().await.unwrap();
    assert_eq!((batch.number, frames(&batch).len()), (1, 2));
    spool.acknowledged(&batch);
    assert!(spool.is_delivered());
    assert!(!dir.path().join("7").exists());
}

#[tokio::test]
async fn a_short_build_that_no_master_takes_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(dir.path());
    first.event(started(1));
    first.event(finish());
    let mut batch = first.take().await.unwrap();
    first.keep(&mut batch);
    drop(first);
    let (second, finished) = Spool::open(dir.path().join("7"), Arc::new(Budget::new(1 << 20))).unwrap();
    assert!(finished);
    second.ready().await;
    let again = second.take().await.unwrap();
    assert_eq!((again.number, &again.frames), (1, &batch.frames));
    second.acknowledged(&again);
    assert!(second.is_delivered());
    second.remove();
    assert!(!dir.path().join("7").exists());
}

#[tokio::test]
async fn a_long_build_comes_out_in_order_over_many_batches_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    spool.event(started(1));
    let mut expected = vec![Frame::Event(started(1))];
    expected.extend(noise(&spool, 1200));
    spool.event(finish());
    expected.push(Frame::Event(finish()));
    assert!(std::fs::read_dir(dir.path().join("7")).unwrap().count() > 2, "several segments");
    let mut got = Vec::new();
    let mut number = 0;
    while !spool.is_delivered() {
        spool.ready().await;
        let batch = spool.take().await.unwrap();
        number += 1;
        assert_eq!(batch.number, number);
        assert!(batch.frames.len() + 1000 < wire::BATCH_MAX);
        got.extend(frames(&batch));
        spool.acknowledged(&batch);
    }
    assert!(got == expected);
    assert!(spool.budget.used() == 0);
}

#[tokio::test]
async fn after_a_crash_the_batch_on_its_way_is_sent_again_as_it_was_and_the_rest_follows() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(dir.path());
    first.event(started(1));
    let mut expected = vec![Frame::Event(started(1))];
    expected.extend(noise(&first, 100));
    let one = first.take().await.unwrap();
    first.acknowledged(&one);
    let two = first.take().await.unwrap();
    let so_far = frames(&one).len();
    // A write that the machine's crash broke off.
    drop(first);
    let segment = std::fs::read_dir(dir.path().join("7"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "seg"))
        .unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(segment).unwrap();
    std::io::Write::write_all(&mut file, b"L\xff\0\0\0half").unwrap();

    let (second, finished) = Spool::open(dir.path().join("7"), Arc::new(Budget::new(1 << 30))).unwrap();
    assert!(!finished);
    second.event(finish());
    expected.push(Frame::Event(finish()));
    let again = second.take().await.unwrap();
    assert_eq!((again.number, &again.frames), (2, &two.frames));
    let mut got = frames(&again);
    second.acknowledged(&again);
    while !second.is_delivered() {
        let batch = second.take().await.unwrap();
        got.extend(frames(&batch));
        second.acknowledged(&batch);
    }
    assert!(got == expected[so_far..]);
}

#[tokio::test]
async fn a_full_disk_makes_output_wait_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the folder should be: no spool can be made there.
    std::fs::write(dir.path().join("not-a-folder"), "").unwrap();
    let spool = Spool::new(dir.path().join("not-a-folder/7"), Arc::new(Budget::new(u64::MAX)));
    let mut expected = noise(&spool, 18);
    assert!(!spool.has_room());
    let mut batch = spool.take().await.unwrap();
    spool.keep(&mut batch);
    assert!(spool.has_room());
    spool.event(finish());
    expected.push(Frame::Event(finish()));
    let mut got = frames(&batch);
    spool.acknowledged(&batch);
    let last = spool.take().await.unwrap();
    got.extend(frames(&last));
    spool.acknowledged(&last);
    assert!(got == expected && spool.is_delivered());
}

#[tokio::test]
async fn at_the_bound_there_is_no_room_until_something_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path().join("7"), Arc::new(Budget::new(1 << 20)));
    noise(&spool, 18);
    assert!(!spool.has_room());
    let batch = spool.take().await.unwrap();
    spool.acknowledged(&batch);
    assert!(spool.has_room());
    drop(spool);
}
