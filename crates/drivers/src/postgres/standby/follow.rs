//! The log that a backup of a standby needs, streamed from the standby as whole segments.
//!
//! In: the replication session that has given the backup, where it begins and how far it must reach. Out: the bytes of one
//! segment after the other, in order; behind the end they are zeros. It holds one message. It never asks for more than it
//! was told to. Read next: `../standby.rs`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use muster_types::{Lsn, event::Unwatched};
use postgres_protocol::message::backend::Message;

use super::super::wire::{self, Connection};
use crate::DriverError;

/// A stretch of log that is being received.
#[derive(Debug)]
pub(in super::super) struct Following {
    /// Where the next byte belongs.
    at: Lsn,
    end: Lsn,
    ahead: Bytes,
}

impl Following {
    /// Begins to stream from the beginning of the segment in which `start` lies.
    ///
    /// # Errors
    /// What the server refuses, such as a segment that it has removed.
    pub(in super::super) fn begin(
        connection: &mut Connection,
        slot: &str,
        timeline: u32,
        (start, end): (Lsn, Lsn),
    ) -> Result<Self, DriverError> {
        connection
            .send_query(&format!("START_REPLICATION SLOT {slot} PHYSICAL {start} TIMELINE {timeline}"))?;
        connection.await_stream(&Unwatched)?;
        Ok(Self { at: start, end, ahead: Bytes::new() })
    }

    /// Reads into `buffer`, which must not reach beyond the segment; `None` when the server has ended the stream.
    ///
    /// # Errors
    /// What the server says instead of log; a lost connection.
    pub(in super::super) fn read(
        &mut self,
        connection: &mut Connection,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, DriverError> {
        if self.at >= self.end {
            buffer.fill(0);
            self.at = Lsn(self.at.0 + buffer.len() as u64);
            return Ok(Some(buffer.len()));
        }
        while self.ahead.is_empty() {
            match connection.receive(&Unwatched, None)? {
                Message::CopyData(body) => {
                    let body = body.into_bytes();
                    if !self.take(body, connection)? {
                        return Err(connection.confused("the next part of the log"));
                    }
                }
                Message::CopyDone | Message::CommandComplete(_) => return Ok(None),
                Message::ErrorResponse(body) => {
                    return Err(connection.refuse(&wire::said(&mut body.fields())));
                }
                _ => return Err(connection.confused("a part of the log")),
            }
        }
        let left = usize::try_from(self.end.0 - self.at.0).unwrap_or(usize::MAX);
        let count = buffer.len().min(self.ahead.len()).min(left);
        buffer[..count].copy_from_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        self.at = Lsn(self.at.0 + count as u64);
        Ok(Some(count))
    }

    /// Takes a message; `false` when it is none that can come here.
    fn take(&mut self, mut body: Bytes, connection: &mut Connection) -> Result<bool, DriverError> {
        match body.first() {
            Some(b'w') if body.len() >= 25 => {
                body.advance(1);
                let start = Lsn(body.get_u64());
                body.advance(16);
                let expected = self.at;
                self.ahead = body;
                Ok(start == expected)
            }
            Some(b'k') if body.len() >= 18 => {
                body.advance(17);
                if body.get_u8() != 0 {
                    connection.send_copy_data(alive(self.at))?;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Tells the server that we live; nothing is acknowledged that its slot could let go.
fn alive(at: Lsn) -> Bytes {
    let mut body = BytesMut::with_capacity(34);
    body.put_u8(b'r');
    body.put_u64(at.0);
    body.put_u64(0);
    body.put_u64(0);
    body.put_i64(0);
    body.put_u8(0);
    body.freeze()
}
