//! Brings a file from a web server into a folder, whatever happens on the way: a broken connection goes on
//! where it broke, a passing failure is tried again, a lasting one ends at once. It checks no checksums.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, StatusCode, header};

use super::checksum::{Expected, Mismatch};
use super::connection::{Connection, Message, may_pass};
use super::partial::{Note, Partial};
use crate::engine::stage::{Job, Progress, StageError, Unit};

/// How long to go on after failures.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Failures in a row, without one new byte, that are tried again.
    pub retries: u32,
    /// The wait after the first; it doubles each time.
    pub first_wait: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { retries: 5, first_wait: Duration::from_secs(1) }
    }
}

/// Why no file arrived; the address is told by whoever shows it.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The server does not give the file.
    #[error("the server says {0}; check the address")]
    Refused(StatusCode),
    /// The address cannot be asked at all.
    #[error("{0}")]
    Unreachable(ureq::Error),
    /// Too many failures in a row.
    #[error(
        "gave up after {attempts} attempts, the last one because {reason}; {kept} bytes are kept, and the next run goes on from there if the server allows"
    )]
    GaveUp { attempts: u32, reason: String, kept: u64 },
    /// The server has a file of another size.
    #[error("{0}; check the address and the size")]
    Size(Mismatch),
    /// It would not fit.
    #[error("{missing} bytes are still to come, but {} has only {free} free; make room and run again", folder.display())]
    DiskFull { missing: u64, free: u64, folder: PathBuf },
    /// The disk refuses.
    #[error("{}: {error}", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
}

/// How one attempt ended without the file.
enum Failure {
    Passing(String),
    Lasting(TransferError),
    Interrupted,
}

/// A file on its way.
pub struct Transfer<'a> {
    url: &'a str,
    expected: &'a Expected,
    partial: Partial,
    folder: &'a Path,
    job: &'a dyn Job,
}

impl<'a> Transfer<'a> {
    /// A transfer into a folder, which may hold what an earlier one left.
    #[must_use]
    pub fn new(url: &'a str, expected: &'a Expected, folder: &'a Path, job: &'a dyn Job) -> Transfer<'a> {
        Transfer { url, expected, partial: Partial::in_folder(folder), folder, job }
    }

    /// Waits until the whole file has arrived.
    ///
    /// # Errors
    /// [`StageError::Interrupted`], or a [`TransferError`] behind the address. What has arrived is kept.
    pub fn complete(&self, patience: Patience) -> Result<&Partial, StageError> {
        let mut failures = 0;
        let mut most = self.partial.bytes();
        loop {
            let reason = match self.attempt() {
                Ok(()) => return Ok(&self.partial),
                Err(Failure::Interrupted) => return Err(StageError::Interrupted),
                Err(Failure::Lasting(error)) => return Err(self.told(&error)),
                Err(Failure::Passing(reason)) => reason,
            };
            let bytes = self.partial.bytes();
            if bytes > most {
                (most, failures) = (bytes, 0);
            }
            failures += 1;
            if failures > patience.retries {
                return Err(self.told(&TransferError::GaveUp { attempts: failures, reason, kept: bytes }));
            }
            let wait = patience.first_wait * 2u32.pow(failures - 1);
            self.job.log(&format!("{}: {reason}; trying again in {wait:?}", self.url));
            self.sleep(wait)?;
        }
    }

    fn attempt(&self) -> Result<(), Failure> {
        let resumed = self.partial.resumable(self.url);
        let mut done = resumed.as_ref().map_or(0, |_| self.partial.bytes());
        if resumed.as_ref().is_some_and(|note| note.size == Some(done)) {
            return Ok(());
        }
        let connection = Connection::open(self.url, &range_headers(resumed.as_ref(), done));
        let (status, headers) = match connection.next(self.job)? {
            Message::Head(status, headers) => (status, headers),
            Message::End(Err(error)) if !may_pass(&error) => {
                return Err(Failure::Lasting(TransferError::Unreachable(error)));
            }
            Message::End(Err(error)) => return Err(Failure::Passing(error.to_string())),
            Message::Chunk(_) | Message::End(Ok(())) => {
                return Err(Failure::Passing("the server said nothing".to_string()));
            }
        };
        let (mut file, size) = match (status, resumed) {
            (StatusCode::OK, _) => {
                done = 0;
                let note =
                    Note { url: self.url.to_string(), version: version(&headers), size: length(&headers) };
                let size = note.size;
                (self.partial.restart(&note).map_err(|e| self.disk(e))?, size)
            }
            (StatusCode::PARTIAL_CONTENT, Some(note)) if continues(&headers, &note, done) => {
                (self.partial.extend().map_err(|e| self.disk(e))?, note.size)
            }
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                self.partial.discard().map_err(|e| self.disk(e))?;
                return Err(Failure::Passing("the file changed on the server".to_string()));
            }
            (status, _) if is_passing(status) => {
                return Err(Failure::Passing(format!("the server says {status}")));
            }
            (status, _) => return Err(Failure::Lasting(TransferError::Refused(status))),
        };
        self.check_room(size, done)?;
        loop {
            self.job.progress(Progress { done, total: size, unit: Unit::Bytes, note: String::new() });
            match connection.next(self.job)? {
                Message::Chunk(bytes) => {
                    file.write_all(&bytes).map_err(|e| self.disk(e))?;
                    done += bytes.len() as u64;
                }
                Message::End(Err(error)) => {
                    return Err(Failure::Passing(format!("the connection broke ({error})")));
                }
                Message::End(Ok(())) if size.is_some_and(|size| size != done) => {
                    return Err(Failure::Passing("the connection ended too early".to_string()));
                }
                Message::End(Ok(())) | Message::Head(..) => return Ok(()),
            }
        }
    }

    fn check_room(&self, size: Option<u64>, done: u64) -> Result<(), Failure> {
        let Some(size) = size else { return Ok(()) };
        self.expected.check_size(size).map_err(|m| Failure::Lasting(TransferError::Size(m)))?;
        check_room(self.folder, size.saturating_sub(done)).map_err(Failure::Lasting)
    }

    fn sleep(&self, wait: Duration) -> Result<(), StageError> {
        let end = Instant::now() + wait;
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            self.job.pause_point()?;
            std::thread::sleep(rest.min(Duration::from_millis(50)));
        }
        Ok(())
    }

    fn disk(&self, error: std::io::Error) -> Failure {
        Failure::Lasting(TransferError::Disk { path: self.partial.path().to_path_buf(), error })
    }

    fn told(&self, error: &TransferError) -> StageError {
        StageError::message(format!("{}: {error}", self.url))
    }
}

impl From<StageError> for Failure {
    /// Waiting for a message only ever fails by interruption.
    fn from(_: StageError) -> Failure {
        Failure::Interrupted
    }
}

/// Whether a folder's disk has room for so many bytes more.
///
/// # Errors
/// If it has not, or cannot be asked.
pub fn check_room(folder: &Path, missing: u64) -> Result<(), TransferError> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|e| TransferError::Disk { path: folder.to_path_buf(), error: e.into() })?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if missing > free {
        return Err(TransferError::DiskFull { missing, free, folder: folder.to_path_buf() });
    }
    Ok(())
}

/// Asks for the rest of the version that has begun to arrive, or else for the whole new one.
fn range_headers(resumed: Option<&Note>, done: u64) -> Vec<(&'static str, String)> {
    // Compressing on the way would make ranges and sizes those of another file.
    let mut headers = vec![("accept-encoding", "identity".to_string())];
    if let Some(version) = resumed.and_then(|note| note.version.clone()) {
        headers.push(("range", format!("bytes={done}-")));
        headers.push(("if-range", version));
    }
    headers
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::TOO_MANY_REQUESTS
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH)?.parse().ok()
}

/// Weak ETags may stand for other bytes, so they do not count (RFC 9110, section 13.1.5).
fn version(headers: &HeaderMap) -> Option<String> {
    let etag = text(headers, &header::ETAG).filter(|etag| etag.starts_with('"'));
    etag.or_else(|| text(headers, &header::LAST_MODIFIED)).map(ToString::to_string)
}

/// Whether an answer of 206 goes on exactly where the partial file ends, in the same version of the file.
fn continues(headers: &HeaderMap, note: &Note, done: u64) -> bool {
    let range = text(headers, &header::CONTENT_RANGE).and_then(|range| {
        let (range, size) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, _) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, size.parse::<u64>().ok()))
    });
    let Some((first, size)) = range else { return false };
    let same_size = size.is_none() || note.size.is_none() || size == note.size;
    let answered = version(headers);
    first == done && same_size && (answered.is_none() || answered == note.version)
}
