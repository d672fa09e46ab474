//! A TCP stream that acknowledges at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP stream that acknowledges received data at once.
///
/// Publishers write a frame in small pieces and leave Nagle's algorithm on: a piece waits until the
/// previous one is acknowledged (RFC 9293 section 3.7.4). If the kernel delays the acknowledgement,
/// as it does for some time after a write, the frame is delayed by 40 ms. The kernel resets the
/// option, so it is set again after each read.
#[derive(Debug)]
pub struct QuickAck(pub TcpStream);

impl AsyncRead for QuickAck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.0).poll_read(context, buffer));
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // A failure only delays frames.
        let _ = self.0.set_quickack(true);
        Poll::Ready(result)
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn received_data_is_acknowledged_at_once_even_after_a_write() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut server = QuickAck(listener.accept().await.unwrap().0);
        for _ in 0..3 {
            client.write_u8(1).await.unwrap();
            server.read_u8().await.unwrap();
            server.write_u8(2).await.unwrap();
            client.read_u8().await.unwrap();
        }
        let is_quick = |socket: &TcpStream| socket.quickack().unwrap();
        // The kernel delays acknowledgements on a socket that answers what it reads.
        assert!(!is_quick(&server.0));
        client.write_u8(1).await.unwrap();
        server.read_u8().await.unwrap();
        assert!(is_quick(&server.0));
    }
}
