//! A web server for tests that gives scripted answers, one connection each. It serves only this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One scripted answer.
pub(super) struct Answer {
    status: u16,
    body: Vec<u8>,
    etag: String,
    location: String,
    breaks_after: usize,
    checks_if_range: bool,
    silent: bool,
}

impl Answer {
    /// A whole file, or the rest of it that is asked for.
    pub(super) fn file(body: &[u8]) -> Answer {
        Answer { body: body.to_vec(), ..Answer::status(200) }
    }

    /// Nothing but a status.
    pub(super) fn status(status: u16) -> Answer {
        Answer {
            status,
            body: Vec::new(),
            etag: "\"first\"".to_string(),
            location: String::new(),
            breaks_after: usize::MAX,
            checks_if_range: true,
            silent: false,
        }
    }

    /// A redirect.
    pub(super) fn redirect(location: &str) -> Answer {
        Answer { location: location.to_string(), ..Answer::status(302) }
    }

    /// No answer at all, for as long as the client waits.
    pub(super) fn silence() -> Answer {
        Answer { silent: true, ..Answer::status(200) }
    }

    /// The connection breaks after so many bytes of the body.
    pub(super) fn breaks_after(self, bytes: usize) -> Answer {
        Answer { breaks_after: bytes, ..self }
    }

    /// The file's ETag.
    pub(super) fn etag(self, etag: &str) -> Answer {
        Answer { etag: etag.to_string(), ..self }
    }

    /// The server gives the range even of a version that is not the one asked for.
    pub(super) fn ignores_if_range(self) -> Answer {
        Answer { checks_if_range: false, ..self }
    }

    fn write(&self, stream: &mut TcpStream, request: &[String]) -> std::io::Result<()> {
        let same_version = !self.checks_if_range || value(request, "if-range") == self.etag;
        let offset = value(request, "range")
            .strip_prefix("bytes=")
            .and_then(|range| range.trim_end_matches('-').parse().ok())
            .filter(|offset| *offset > 0 && same_version && self.status == 200)
            .unwrap_or(0);
        let rest = &self.body[offset..];
        let status = if offset > 0 { 206 } else { self.status };
        let mut head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", rest.len());
        head += &format!("ETag: {}\r\n", self.etag);
        if offset > 0 {
            let size = self.body.len();
            head += &format!("Content-Range: bytes {offset}-{}/{size}\r\n", size - 1);
        }
        if !self.location.is_empty() {
            head += &format!("Location: {}\r\n", self.location);
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(&rest[..self.breaks_after.min(rest.len())])
    }
}

/// A running server; it ends with its last answer.
pub(super) struct TestServer {
    address: String,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

impl TestServer {
    /// Gives these answers, one after the other.
    pub(super) fn start(answers: Vec<Answer>) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            // Silent connections stay open until the server ends.
            let mut open = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let request = read_request(&stream);
                seen.lock().expect("no test thread panicked").push(request.clone());
                if answer.silent {
                    open.push(stream);
                } else {
                    // The client may have left.
                    answer.write(&mut stream, &request).ok();
                }
            }
        });
        TestServer { address, requests }
    }

    /// The address of a file on this server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// The `Range` of each request so far; empty where there was none.
    pub(super) fn ranges(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("no test thread panicked");
        requests.iter().map(|request| value(request, "range")).collect()
    }
}

fn read_request(stream: &TcpStream) -> Vec<String> {
    let lines = BufReader::new(stream).lines().map(|line| line.expect("a request"));
    lines.take_while(|line| !line.is_empty()).collect()
}

fn value(request: &[String], name: &str) -> String {
    let of = |line: &String| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
    };
    request.iter().find_map(of).unwrap_or_default()
}
