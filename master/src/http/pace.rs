//! A body has to come at some pace (A21): one that trickles in would hold its
//! place and its memory for as long as its sender likes. A pause between two
//! parts is no measure, as a byte now and then keeps it short.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Time for the first bytes, and for any short body.
const SHORT: Duration = Duration::from_secs(30);
/// What comes at least in each second of a longer one.
const PER_SECOND: u64 = 1 << 10;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Cuts off bodies that come more slowly.
pub async fn paced(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::from_stream(at_pace(body.into_data_stream(), SHORT)))).await
}

/// Time is counted from when somebody wants the first part.
fn at_pace<S>(parts: S, short: Duration) -> impl Stream<Item = Result<Bytes, Failed>>
where
    S: Stream<Item = Result<Bytes, axum::Error>> + Unpin,
{
    futures_util::stream::unfold((parts, None, 0_u64), move |(mut parts, begun, received)| async move {
        let begun = begun.unwrap_or_else(Instant::now);
        let until = begun + short + Duration::from_millis(received.saturating_mul(1000) / PER_SECOND);
        let part: Result<Bytes, Failed> = match timeout_at(until, parts.next()).await {
            Ok(None) => return None,
            Ok(Some(part)) => part.map_err(Into::into),
            Err(_) => Err("the body came too slowly".into()),
        };
        let received = received + part.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Some((part, (parts, Some(begun), received)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of these parts, each after its pause, comes through, and whether it was cut off.
    async fn taken(parts: Vec<(u64, usize)>) -> (usize, bool) {
        let sent = futures_util::stream::iter(parts).then(|(ms, size)| async move {
            if ms > 0 {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Ok(Bytes::from(vec![b'x'; size]))
        });
        let mut came = Box::pin(at_pace(Box::pin(sent), Duration::from_millis(50)));
        let mut bytes = 0;
        loop {
            match came.next().await {
                None => return (bytes, false),
                Some(Ok(part)) => bytes += part.len(),
                Some(Err(_)) => return (bytes, true),
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_trickles_in_is_cut_off_and_one_that_comes_slowly_is_not() {
        let (bytes, cut) = taken(vec![(10, 1); 1000]).await;
        assert!(cut && bytes < 10, "a byte now and then: {bytes}");
        // What came gives time for what follows.
        assert_eq!(taken(vec![(0, 1 << 20), (100, 10), (100, 10)]).await, ((1 << 20) + 20, false));
        assert_eq!(taken(vec![(0, 10); 20]).await, (200, false));
        assert!(taken(vec![(60_000, 10)]).await.1, "nothing at all");
    }
}
