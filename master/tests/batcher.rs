//! Requests that are done together, see `loops::batcher`.

use std::future::Future;
use std::task::{Context, Waker};
use tidemill_master::loops::batcher::Batcher;

/// A worker that lost its connection sends the batch again: the first copy must not be done too.
#[tokio::test]
async fn a_request_whose_caller_is_gone_is_dropped_and_the_others_are_done() {
    let batcher: Batcher<u32, u32> = Batcher::default();
    let mut context = Context::from_waker(Waker::noop());
    let mut gone = Box::pin(batcher.submit(1));
    assert!(gone.as_mut().poll(&mut context).is_pending(), "it waits");
    drop(gone);
    let mut stays = Box::pin(batcher.submit(2));
    assert!(stays.as_mut().poll(&mut context).is_pending());
    let taken = batcher.take(|_| true).await;
    assert_eq!(taken.iter().map(|(request, _)| *request).collect::<Vec<_>>(), [2]);
    for (request, answer) in taken {
        answer.send(request * 10).expect("its caller waits");
    }
    assert_eq!(stays.await.expect("it was done"), 20);
}
