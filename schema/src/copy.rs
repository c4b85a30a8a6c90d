//! Binary COPY for rows that come in thousands: `postgres-types` encodes the
//! fields, this adds the framing.
//!
//! Not for log chunks: over TCP sqlx's COPY waits 44 ms a statement for a
//! delayed acknowledgement (no TCP_NODELAY), which a bulk load of thousands of
//! rows does not notice.

use crate::Result;
use bytes::{BufMut, BytesMut};
use postgres_types::{IsNull, ToSql, Type};
use sqlx::PgConnection;

/// Send to the server when this much is waiting.
const FLUSH: usize = 1 << 20;

/// Rows of one COPY, encoded as they are added.
pub struct BinaryCopy<'t> {
    types: &'t [Type],
    buffer: BytesMut,
}

/// A value that its column's type cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("column {column}: {error}")]
pub struct EncodeError {
    column: usize,
    error: Box<dyn std::error::Error + Send + Sync>,
}

impl<'t> BinaryCopy<'t> {
    pub fn new(types: &'t [Type]) -> Self {
        let mut buffer = BytesMut::with_capacity(FLUSH);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.put_i32(0); // flags
        buffer.put_i32(0); // length of the header's extension
        BinaryCopy { types, buffer }
    }

    /// Adds a row with a value for each type. On an error the row is as if
    /// never added.
    pub fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> std::result::Result<(), EncodeError> {
        assert_eq!(values.len(), self.types.len(), "a value for each column");
        let start = self.buffer.len();
        self.buffer.put_i16(values.len() as i16);
        for (column, (value, ty)) in values.iter().zip(self.types).enumerate() {
            let at = self.buffer.len();
            self.buffer.put_i32(-1);
            match value.to_sql_checked(ty, &mut self.buffer) {
                Ok(IsNull::Yes) => self.buffer.truncate(at + 4),
                Ok(IsNull::No) => {
                    let len = (self.buffer.len() - at - 4) as i32;
                    self.buffer[at..at + 4].copy_from_slice(&len.to_be_bytes());
                }
                Err(error) => {
                    self.buffer.truncate(start);
                    return Err(EncodeError { column, error });
                }
            }
        }
        Ok(())
    }

    /// Sends everything as one COPY into `target`, such as `t (a, b)`; returns the rows copied.
    pub async fn send(mut self, c: &mut PgConnection, target: &'static str) -> Result<u64> {
        self.buffer.put_i16(-1);
        let statement = format!("copy {target} from stdin (format binary)");
        let mut copy = c.copy_in_raw(&statement).await?;
        while !self.buffer.is_empty() {
            let part = self.buffer.split_to(self.buffer.len().min(FLUSH));
            copy.send(part.freeze()).await?;
        }
        Ok(copy.finish().await?)
    }
}
