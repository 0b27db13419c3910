//! The `download` stage: one file from the web or from this machine, checked. The bytes are all it knows
//! about the file.

mod checksum;
mod connection;
mod partial;
mod source;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
mod transfer;
#[cfg(test)]
mod transfer_tests;

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
    Complaint, Cost, Holds, Identity, Inputs, Job, ONLY_FILE, OutputPort, Ports, Progress, Stage, StageError,
    StageKind, Unit, read_stage,
};
use crate::pipeline::Check;

/// What `uses: download` means.
pub const KIND: StageKind = StageKind {
    name: "download",
    version: 1,
    about: "Fetches one file from the web or from this machine and checks it.",
    schema: || schemars::schema_for!(Download).to_value(),
    read: read_stage::<Download>,
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
        let file_name = Source::parse(&self.url).ok().map(|source| source.file_name());
        let output = OutputPort { file_name, ..OutputPort::new(FILE, Holds::File) };
        Ports { inputs: Inputs::Fixed(vec![]), outputs: vec![output], named_by: None }
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
        Identity { files, ..Identity::of(params) }
    }

    fn origins(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("url".to_string(), json!(self.url))])
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
