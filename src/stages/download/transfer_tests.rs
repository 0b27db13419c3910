//! What a transfer does when servers and connections fail it.

use std::path::Path;
use std::time::Duration;

use super::checksum::Expected;
use super::partial::Partial;
use super::test_server::{Answer, TestServer};
use super::transfer::{Patience, Transfer, check_room};
use crate::engine::stage::{Job, StageError};
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
