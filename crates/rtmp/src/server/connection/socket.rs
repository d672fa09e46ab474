//! A socket that is read and written concurrently.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tracing::debug;

/// Timeout of a client to read the output sent at once: a frame, or our responses.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ_SIZE: usize = 32 << 10;

/// Maximum unsent bytes of responses; no input is read while there are more.
const MAX_UNSENT_ANSWERS: usize = 64 << 10;

/// Maximum pieces that are written at once.
const MAX_SLICES: usize = 32;

/// Timeout of a client to read the final output.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A socket with its unsent output.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    unsent: VecDeque<Bytes>,
    /// Time since which there is unsent output.
    unsent_since: Option<Instant>,
    /// Bytes of responses in the unsent output.
    answers: usize,
}

/// An event of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Number of bytes read; 0 if the client has closed.
    Read(usize),
    /// Nothing is left to be sent.
    Sent,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            unsent: VecDeque::new(),
            unsent_since: None,
            answers: 0,
        }
    }

    /// Queues a response to the client.
    pub(super) fn answer(&mut self, bytes: Bytes) {
        self.answers += bytes.len();
        self.send(bytes);
    }

    /// Queues bytes that are not a response.
    pub(super) fn send(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.unsent_since.get_or_insert_with(Instant::now);
            self.unsent.push_back(bytes);
        }
    }

    /// Returns whether everything is sent.
    pub(super) fn is_idle(&self) -> bool {
        self.unsent_since.is_none()
    }

    /// Returns the deadline of the client to read the unsent output.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.unsent_since.map(|since| since + WRITE_TIMEOUT)
    }

    /// Sends what is unsent and appends what comes to `input`, as long as that has fewer than
    /// `limit` bytes. Nothing is lost when the future is dropped.
    pub(super) async fn exchange(
        &mut self,
        input: &mut BytesMut,
        limit: usize,
    ) -> io::Result<Progress> {
        let may_read = input.len() < limit && self.answers <= MAX_UNSENT_ANSWERS;
        if may_read {
            input.reserve(READ_SIZE);
        }
        poll_fn(|context| {
            if self.poll_send(context)?.is_ready() {
                return Poll::Ready(Ok(Progress::Sent));
            }
            if may_read && let Poll::Ready(read) = self.poll_read(context, input) {
                return Poll::Ready(Ok(Progress::Read(read?)));
            }
            Poll::Pending
        })
        .await
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        pin!(self.stream.read_buf(input)).poll(context)
    }

    /// Ready once all is sent, if there was something to send.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_idle() {
            return Poll::Pending;
        }
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.unsent) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            let stream = Pin::new(&mut self.stream);
            match stream.poll_write_vectored(context, slices)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => self.advance(written),
                Poll::Pending => return Poll::Pending,
            }
        }
        // TLS keeps some of what it has taken.
        if Pin::new(&mut self.stream).poll_flush(context)?.is_pending() {
            return Poll::Pending;
        }
        self.unsent_since = None;
        self.answers = 0;
        Poll::Ready(Ok(()))
    }

    /// Removes sent bytes.
    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.unsent.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.unsent.pop_front();
        }
    }

    /// Sends what is unsent and closes so that the client can read it: a close with unread input
    /// would destroy our last words on their way.
    pub(super) async fn linger(&mut self) {
        let drained = timeout(LINGER, async {
            if !self.is_idle() {
                poll_fn(|context| self.poll_send(context)).await?;
            }
            self.stream.shutdown().await?;
            let mut discarded = [0; 4096];
            while self.stream.read(&mut discarded).await? > 0 {}
            io::Result::Ok(())
        });
        if let Ok(Err(error)) = drained.await {
            debug!(%error, "while closing");
        }
    }
}
