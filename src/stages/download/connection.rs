//! One GET over http, read by a thread of its own, so that whoever waits for it can leave at any time. It
//! does not know what the bytes are for, and tries nothing twice.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};

use crate::engine::stage::{Job, StageError};

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_AHEAD: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// A running GET.
pub struct Connection {
    messages: Receiver<Message>,
}

/// What comes out of a [`Connection`], in this order: one head, chunks, one end; or an end at once.
pub enum Message {
    /// The answer's status and headers, after redirects.
    Head(StatusCode, HeaderMap),
    /// The next bytes of the body.
    Chunk(Vec<u8>),
    /// Nothing more will come.
    End(Result<(), ureq::Error>),
}

impl Connection {
    /// Asks for a file. Proxies named by the environment are used.
    #[must_use]
    pub fn open(url: &str, headers: &[(&'static str, String)]) -> Connection {
        let (sender, messages) = sync_channel(CHUNKS_AHEAD);
        let (url, headers) = (url.to_string(), headers.to_vec());
        // The thread ends by itself: with the transfer, with the timeout, or when nobody listens any more.
        std::thread::spawn(move || {
            let end = get(&url, &headers, &sender);
            sender.send(Message::End(end)).ok();
        });
        Connection { messages }
    }

    /// Waits for the next message, or until the stage should stop.
    ///
    /// # Errors
    /// Only [`StageError::Interrupted`].
    pub fn next(&self, job: &dyn Job) -> Result<Message, StageError> {
        loop {
            job.pause_point()?;
            match self.messages.recv_timeout(LOOK_UP_EVERY) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Message::End(Err(ureq::Error::ConnectionFailed)));
                }
            }
        }
    }
}

fn get(
    url: &str,
    headers: &[(&'static str, String)],
    sender: &SyncSender<Message>,
) -> Result<(), ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(SILENCE_TIMEOUT))
        .user_agent(concat!("stlpipe/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let request = headers.iter().fold(agent.get(url), |request, (name, value)| request.header(*name, value));
    let response = request.call()?;
    let (head, body) = response.into_parts();
    if sender.send(Message::Head(head.status, head.headers)).is_err() {
        return Ok(());
    }
    let mut reader = body.into_reader();
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = reader.read(&mut chunk)?;
        chunk.truncate(length);
        if length == 0 || sender.send(Message::Chunk(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// Whether trying again may help.
#[must_use]
pub fn may_pass(error: &ureq::Error) -> bool {
    match error {
        // A certificate that is not trusted comes as invalid data, and stays untrusted.
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}
