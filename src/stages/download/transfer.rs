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
    Disk { path: PathBuf, error: std::io::Error },
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

#[cfg(test)]
mod tests {
    use super::super::test_server::{Answer, TestServer};
    use super::*;
    use crate::stages::test_job::TestJob;

    const PATIENCE: Patience = Patience { retries: 2, first_wait: Duration::from_millis(1) };

    fn body() -> Vec<u8> {
        (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn fetch(server: &TestServer, job: &TestJob) -> Result<Vec<u8>, String> {
        let (url, expected) = (server.url("/data/file"), Expected::default());
        let folder = job.partial().expect("a folder");
        match Transfer::new(&url, &expected, &folder, job).complete(PATIENCE) {
            Ok(partial) => Ok(std::fs::read(partial.path()).expect("the file is there")),
            Err(StageError::Failed(error)) => Err(error.to_string().replace(&url, "URL")),
            Err(StageError::Interrupted) => Err("interrupted".to_string()),
        }
    }

    #[test]
    fn a_broken_connection_goes_on_where_it_broke() {
        let server = TestServer::start(vec![
            Answer::file(&body()).breaks_after(300_000),
            Answer::file(&body()).breaks_after(200_000),
            Answer::file(&body()),
        ]);
        assert_eq!(fetch(&server, &TestJob::new()), Ok(body()));
        assert_eq!(server.ranges(), ["", "bytes=300000-", "bytes=500000-"]);
    }

    #[test]
    fn what_an_earlier_run_left_is_used() {
        let job = TestJob::new();
        let broken = || Answer::file(&body()).breaks_after(100_000);
        let server = TestServer::start(vec![
            broken(),
            Answer::status(503),
            Answer::status(503),
            Answer::status(503),
            Answer::file(&body()),
        ]);
        assert_eq!(
            fetch(&server, &job),
            Err("URL: gave up after 3 attempts, the last one because the server says 503 Service Unavailable; \
                 100000 bytes are kept, and the next run goes on from there if the server allows"
                .into())
        );
        assert_eq!(fetch(&server, &job), Ok(body()));
        assert_eq!(server.ranges().last().map(String::as_str), Some("bytes=100000-"));
        assert_eq!(fetch(&server, &job), Ok(body()), "a complete file needs no server");
        assert_eq!(server.ranges().len(), 5);
    }

    #[test]
    fn a_file_that_changed_meanwhile_starts_anew() {
        let other = b"another file".to_vec();
        let server = TestServer::start(vec![
            Answer::file(&body()).breaks_after(300_000),
            Answer::file(&other).etag("\"second\""),
        ]);
        assert_eq!(fetch(&server, &TestJob::new()), Ok(other));
    }

    #[test]
    fn a_part_of_another_version_is_thrown_away() {
        let other: Vec<u8> = body().iter().map(|b| !b).collect();
        let server = TestServer::start(vec![
            Answer::file(&body()).breaks_after(300_000),
            Answer::file(&other).etag("\"second\"").ignores_if_range(),
            Answer::file(&other).etag("\"second\""),
        ]);
        assert_eq!(fetch(&server, &TestJob::new()), Ok(other));
        assert_eq!(server.ranges(), ["", "bytes=300000-", ""]);
    }

    #[test]
    fn without_a_strong_etag_a_broken_transfer_starts_anew() {
        let server = TestServer::start(vec![
            Answer::file(&body()).etag("W/\"weak\"").breaks_after(300_000),
            Answer::file(&body()),
        ]);
        assert_eq!(fetch(&server, &TestJob::new()), Ok(body()));
        assert_eq!(server.ranges(), ["", ""]);
    }

    #[test]
    fn redirects_are_followed_with_the_range() {
        let server = TestServer::start(vec![
            Answer::redirect("/elsewhere"),
            Answer::file(&body()).breaks_after(300_000),
            Answer::redirect("/elsewhere"),
            Answer::file(&body()),
        ]);
        assert_eq!(fetch(&server, &TestJob::new()), Ok(body()));
        assert_eq!(server.ranges(), ["", "", "bytes=300000-", "bytes=300000-"]);
    }

    #[test]
    fn a_missing_file_is_not_asked_for_twice() {
        let server = TestServer::start(vec![Answer::status(404)]);
        assert_eq!(
            fetch(&server, &TestJob::new()),
            Err("URL: the server says 404 Not Found; check the address".into())
        );
        assert_eq!(server.ranges().len(), 1);
    }

    #[test]
    fn an_interruption_leaves_at_once_and_keeps_what_arrived() {
        let server = TestServer::start(vec![
            Answer::file(&body()).breaks_after(300_000),
            Answer::silence(),
            Answer::file(&body()),
        ]);
        let job = TestJob::new();
        let expected = Expected::default();
        let folder = job.partial().expect("a folder");
        let interrupted = TestJob::new().interrupt_after(20);
        let url = server.url("/data/file");
        let ended = Transfer::new(&url, &expected, &folder, &interrupted).complete(PATIENCE).err();
        assert!(matches!(ended, Some(StageError::Interrupted)), "{ended:?}");
        assert_eq!(Partial::in_folder(&folder).bytes(), 300_000);
        assert_eq!(fetch(&server, &job), Ok(body()));
    }

    #[test]
    fn a_disk_without_room_is_noticed_first() {
        let error = check_room(Path::new("."), u64::MAX).expect_err("nobody has so much room");
        assert!(error.to_string().starts_with("18446744073709551615 bytes are still to come"), "{error}");
    }
}
