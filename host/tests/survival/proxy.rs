//! A wire that can be cut: what stands between a host and Redis.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::AbortHandle,
};

/// Carries connections to a port of the loopback interface. While it is cut, it carries
/// nothing, and says nothing: what was sent arrives late.
pub(crate) struct Proxy {
    port: u16,
    whole: Arc<watch::Sender<bool>>,
    task: AbortHandle,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let whole = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&whole);
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(near, port, state.subscribe()));
            }
        });
        Self { port: own, whole, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(near: TcpStream, port: u16, whole: watch::Receiver<bool>) {
    // Redis may be away: then so is this connection.
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = forward(near_in, far_out, whole.clone()) => {}
        () = forward(far_in, near_out, whole) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut whole: watch::Receiver<bool>) {
    let mut some = vec![0; 16 * 1024];
    while let Ok(length) = from.read(&mut some).await {
        // Its end, too, is told when the wire is whole again.
        let carried = whole.wait_for(|whole| *whole).await.is_ok();
        if length == 0 || !carried || to.write_all(&some[..length]).await.is_err() {
            return;
        }
    }
}
