//! What the `download` stage promises, through its port to the engine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::test_server::{Answer, TestServer};
use super::{FILE, KIND};
use crate::engine::stage::{Job, ONLY_FILE, Stage, StageError};
use crate::stages::test_job::TestJob;

const MD5_OF_ABC: &str = "900150983cd24fb0d6963f7d28e17f72";

fn download(params: &Value) -> Box<dyn Stage> {
    (KIND.read)(params).expect("the parameters are right")
}

fn failure(params: &Value, job: &TestJob) -> String {
    match download(params).run(job) {
        Err(StageError::Failed(error)) => error.to_string(),
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[test]
fn a_file_from_the_web_arrives_and_is_checked() {
    let server = TestServer::start(vec![Answer::file(b"abc")]);
    let job = TestJob::new();
    download(&json!({ "url": server.url("/x.bin"), "md5": MD5_OF_ABC, "size": 3 }))
        .run(&job)
        .expect("it runs");
    assert_eq!(job.bytes(FILE, ONLY_FILE), b"abc");
    assert_eq!(job.progress_told().last().map(|p| (p.done, p.total)), Some((3, Some(3))));
}

#[test]
fn a_wrong_checksum_names_both_values_and_keeps_nothing() {
    let server = TestServer::start(vec![Answer::file(b"abd")]);
    let (job, url) = (TestJob::new(), server.url("/x"));
    assert_eq!(
        failure(&json!({ "url": url, "md5": MD5_OF_ABC }), &job),
        format!(
            "{url}: the md5 is 4911e516e5aa21d327512e0c8b197616, but {MD5_OF_ABC} was expected; nothing was kept"
        )
    );
    let kept = std::fs::read_dir(job.partial().expect("a folder")).expect("a folder").count();
    assert_eq!(kept, 0);
}

#[test]
fn a_file_of_another_size_is_not_even_fetched() {
    let server = TestServer::start(vec![Answer::file(b"abcd")]);
    let url = server.url("/x");
    let told = failure(&json!({ "url": url, "size": 3 }), &TestJob::new());
    assert_eq!(told, format!("{url}: the size is 4, but 3 was expected; check the address and the size"));
}

#[test]
fn a_local_file_is_copied_and_checked_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.bin");
    std::fs::write(&path, b"abc").expect("written");
    for url in [path.display().to_string(), format!("file://{}", path.display())] {
        let job = TestJob::new();
        download(&json!({ "url": url, "md5": MD5_OF_ABC })).run(&job).expect("it runs");
        assert_eq!(job.bytes(FILE, ONLY_FILE), b"abc");
    }
    let told = failure(&json!({ "url": path, "md5": "0".repeat(32) }), &TestJob::new());
    assert!(told.ends_with(&format!(
        "the md5 is {MD5_OF_ABC}, but {} was expected; nothing was kept",
        "0".repeat(32)
    )));
    assert_eq!(std::fs::read(&path).expect("still there"), b"abc");
    let told = failure(&json!({ "url": folder.path() }), &TestJob::new());
    assert!(told.ends_with("not a file"), "{told}");
}

#[test]
fn a_mirror_of_a_checked_file_is_the_same_file() {
    let identity = |params: Value| download(&params).identity();
    let (a, b) = ("http://a.org/x", "http://b.org/y");
    assert_eq!(
        identity(json!({ "url": a, "md5": MD5_OF_ABC })),
        identity(json!({ "url": b, "md5": MD5_OF_ABC.to_uppercase() }))
    );
    assert_ne!(identity(json!({ "url": a })), identity(json!({ "url": b })));
    assert_ne!(identity(json!({ "url": a, "size": 3 })), identity(json!({ "url": b, "size": 3 })));
}

#[test]
fn a_local_file_counts_by_its_content() {
    let identity = download(&json!({ "url": "file:data/x" })).identity();
    assert_eq!(identity.files, BTreeMap::from([(FILE.to_string(), "data/x".into())]));
    let origins = download(&json!({ "url": "file:data/x" })).origins();
    assert_eq!(origins, BTreeMap::from([("url".to_string(), json!("file:data/x"))]));
    assert_eq!(identity.params, download(&json!({ "url": "data/y" })).identity().params);
}

#[test]
fn an_address_that_cannot_be_fetched_is_complained_about() {
    let complaints = (KIND.read)(&json!({ "url": "s3://x" })).err().expect("complaints").into_complaints();
    assert_eq!(complaints[0].path, ["url"]);
}
