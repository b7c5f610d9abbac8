//! A wire to a server that can fail.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    HoldsAnswers,
    DropsAnswers,
    Cut,
}

pub(crate) struct Wire {
    port: u16,
    state: Arc<watch::Sender<State>>,
    held: Arc<Notify>,
}

impl Wire {
    pub(crate) async fn to(endpoint: &str) -> Self {
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let told = state.subscribe();
        let held = Arc::new(Notify::new());
        let holds = held.clone();
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                tokio::spawn(carry(client, server, told.clone(), holds.clone()));
            }
        });
        Self { port, state, held }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on what the server says waits for [`let_go`](Self::let_go).
    pub(crate) fn hold_answers(&self) {
        self.state.send_replace(State::HoldsAnswers);
    }

    /// Waits until the server has said something that is held.
    pub(crate) async fn answer_held(&self) {
        self.held.notified().await;
    }

    pub(crate) fn let_go(&self) {
        self.state.send_replace(State::Whole);
    }

    /// From now on the server hears, and is not heard.
    pub(crate) fn drop_answers(&self) {
        self.state.send_replace(State::DropsAnswers);
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }
}

async fn carry(client: TcpStream, server: TcpStream, mut told: watch::Receiver<State>, held: Arc<Notify>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut state = told.clone();
    let answers = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if *state.borrow() == State::HoldsAnswers {
                held.notify_one();
                if state.wait_for(|state| *state != State::HoldsAnswers).await.is_err() {
                    return;
                }
            }
            if *state.borrow() == State::Whole && to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = answers => {}
        _ = told.wait_for(|state| *state == State::Cut) => {}
    }
}
