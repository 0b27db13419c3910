//! The `download` stage: one file from the web or from this machine, checked. The bytes are all it knows
//! about the file.

mod checksum;
mod connection;
mod partial;
mod source;
#[cfg(test)]
mod test_server;
mod transfer;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::checksum::{Digest, Expected, for_each_block};
use self::source::Source;
use self::transfer::{Patience, Transfer, check_room};
use crate::engine::stage::{
    Complaint, Cost, DeviceUse, Holds, Identity, Inputs, Job, ONLY_FILE, OutputPort, Ports, Progress, Stage,
    StageError, StageKind, Unit,
};
use crate::pipeline::{Check, read_params};

/// What `uses: download` means.
pub const KIND: StageKind = StageKind {
    name: "download",
    version: 1,
    about: "Fetches one file from the web or from this machine and checks it.",
    schema: || schemars::schema_for!(Download).to_value(),
    read: |params| Ok(Box::new(read_params::<Download>(params)?)),
};

const FILE: &str = "file";

/// Where the file is and what it must be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Download {
    /// An http, https or file address, or a path, which counts from the working directory.
    url: String,
    /// The MD5 digest that the file must have, in hexadecimal.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    md5: Option<Digest<16>>,
    /// The SHA-256 digest that the file must have, in hexadecimal.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest<32>>,
    /// The BLAKE3 digest that the file must have, in hexadecimal.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake3: Option<Digest<32>>,
    /// The size that the file must have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl Check for Download {
    fn check(&self) -> Vec<Complaint> {
        let complain = |error: source::SourceError| Complaint {
            path: vec!["url".to_string()],
            message: error.to_string(),
            hint: None,
        };
        Source::parse(&self.url).err().map(complain).into_iter().collect()
    }
}

impl Download {
    fn source(&self) -> Source {
        Source::parse(&self.url).expect("the address was checked when the parameters were read")
    }

    fn expected(&self) -> Expected {
        Expected { size: self.size, md5: self.md5, sha256: self.sha256, blake3: self.blake3 }
    }

    fn fetch(&self, url: &str, job: &dyn Job) -> Result<(), StageError> {
        let expected = self.expected();
        let folder = job.partial()?;
        let transfer = Transfer::new(url, &expected, &folder, job);
        let partial = transfer.complete(Patience::default())?;
        let mut comparison = expected.comparison();
        for_each_block(partial.path(), |block| {
            comparison.update(block);
            job.pause_point()
        })?;
        if let Err(mismatch) = comparison.finish() {
            partial.discard()?;
            return Err(StageError::message(format!("{url}: {mismatch}; nothing was kept")));
        }
        job.adopt(FILE, ONLY_FILE, partial.path())
    }

    /// Copies block by block, so that the file is read once and never touched.
    fn copy(&self, path: &Path, job: &dyn Job) -> Result<(), StageError> {
        let place = |problem: String| StageError::message(format!("{}: {problem}", path.display()));
        let metadata = std::fs::metadata(path).map_err(|e| place(e.to_string()))?;
        if !metadata.is_file() {
            return Err(place("not a file".to_string()));
        }
        let size = metadata.len();
        let expected = self.expected();
        expected.check_size(size).map_err(|m| place(m.to_string()))?;
        check_room(&job.partial()?, size).map_err(|e| place(e.to_string()))?;
        let mut comparison = expected.comparison();
        let mut output = job.create(FILE, ONLY_FILE)?;
        let mut done = 0;
        for_each_block(path, |block| {
            comparison.update(block);
            output.write_all(block)?;
            done += block.len() as u64;
            job.progress(Progress { done, total: Some(size), unit: Unit::Bytes, note: String::new() });
            job.pause_point()
        })?;
        comparison.finish().map_err(|m| place(format!("{m}; nothing was kept")))?;
        output.finish()
    }
}

impl Stage for Download {
    fn ports(&self) -> Ports {
        let file_name = Some(self.source().file_name());
        let output = OutputPort { name: FILE.to_string(), holds: Holds::File, file_name };
        Ports { inputs: Inputs::Fixed(vec![]), outputs: vec![output] }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    /// A mirror of a file whose checksum is known is the same file; a local file counts by its content.
    fn identity(&self) -> Identity {
        let Download { url, md5, sha256, blake3, size } = self;
        let mut params = json!({ "md5": md5, "sha256": sha256, "blake3": blake3, "size": size });
        let mut files = BTreeMap::new();
        match self.source() {
            Source::Local(path) => {
                files.insert(FILE.to_string(), path);
            }
            Source::Web(_) if self.expected().identifies_the_bytes() => {}
            Source::Web(_) => params["url"] = json!(url),
        }
        Identity { params, files, device: DeviceUse::Irrelevant }
    }

    fn cost(&self) -> Cost {
        Cost::Waiting
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        match self.source() {
            Source::Web(url) => self.fetch(&url, job),
            Source::Local(path) => self.copy(&path, job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test_server::{Answer, TestServer};
    use super::*;
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
        assert_eq!(identity.params, download(&json!({ "url": "data/y" })).identity().params);
    }

    #[test]
    fn an_address_that_cannot_be_fetched_is_complained_about() {
        let complaints = (KIND.read)(&json!({ "url": "s3://x" })).err().expect("complaints");
        assert_eq!(complaints[0].path, ["url"]);
    }
}
