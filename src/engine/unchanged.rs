//! Remembers a run of a large pipeline after which nothing was left to do, so that whoever asks again need not read
//! the pipeline and every record: it is enough that no file has changed by its size, times and inode. Whatever is
//! not as it was sends the question to the planner, which alone can say what that means.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::registry::Registry;
use super::run::Summary;
use super::stage::Device;
use super::{Checkout, Experiment, State};
use crate::pipeline::{Setting, StageName};
use crate::store::{Digest, Record, Stamp, Store};

/// Smaller pipelines are planned as quickly as this could answer.
const ENOUGH_STAGES: usize = 100;

/// What is asked: everything from outside that the answer depends on, besides the content of files.
pub struct Question<'a> {
    /// The pipeline file.
    pub pipeline: &'a Path,
    /// What is put over it.
    pub settings: &'a [Setting],
    /// What computes.
    pub device: Device,
    /// The kinds of stages, with their versions.
    pub registry: &'a Registry,
    /// Where links to results are made.
    pub data: &'a Path,
}

/// A stage that was up to date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// Its name.
    pub stage: StageName,
    /// Its key.
    pub key: Digest,
    /// The figures of its result.
    pub metrics: BTreeMap<String, f64>,
    record: Stamp,
    blobs: Vec<(Digest, Stamp)>,
    links: Vec<(PathBuf, PathBuf)>,
}

#[derive(Serialize, Deserialize)]
struct Memo {
    /// The pipeline's name.
    pipeline: String,
    /// The file and those it extends, with the digests of their texts.
    files: Vec<(PathBuf, Digest)>,
    /// The newest log of a run, which edits are compared with.
    log: String,
    /// Its stages, inputs before their users.
    stages: Vec<Settled>,
}

impl Question<'_> {
    /// The name under which its answer is remembered.
    fn name(&self) -> Digest {
        let versions: Vec<_> = self.registry.all().iter().map(|kind| (kind.name, kind.version)).collect();
        let settings: Vec<&str> = self.settings.iter().map(Setting::text).collect();
        let device = super::DeviceClass::from(self.device);
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (pipeline, data) = (absolute(self.pipeline), absolute(self.data));
        let asked = (env!("CARGO_PKG_VERSION"), versions, settings, device, self.pipeline, pipeline, data);
        Digest::of(&serde_json::to_vec(&asked).expect("paths that clap took are text"))
    }

    /// The stages, if it is remembered that nothing was left to do and nothing has changed since.
    #[must_use]
    pub fn recall(&self, store: &Store) -> Option<(String, Vec<Settled>)> {
        let Memo { pipeline, files, log, stages } = store.recall(&self.name())?;
        let is_same = |(path, digest): &(PathBuf, Digest)| {
            fs::read(path).is_ok_and(|text| Digest::of(&text) == *digest)
        };
        let is_current = files.iter().all(is_same)
            && store.newest_log(&pipeline)? == log
            && stages.par_iter().all(|settled| settled.is_unchanged(store));
        is_current.then_some((pipeline, stages))
    }

    /// Remembers that nothing is left to do, if that is so and can be found out again from files alone.
    pub fn remember(&self, experiment: &Experiment, summary: &Summary, checkout: &Checkout, store: &Store) {
        let pipeline = &experiment.pipeline;
        let is_whole = summary.stages.len() == pipeline.stages.len()
            && summary.stages.iter().all(|(_, state)| matches!(state, State::Reused | State::Done));
        let is_closed = || pipeline.stages.iter().all(|decl| decl.stage.is_closed());
        if pipeline.stages.len() < ENOUGH_STAGES || !is_whole || !is_closed() {
            return;
        }
        let Some(log) = store.newest_log(&pipeline.name) else { return };
        let settle = |(stage, record): &(StageName, std::sync::Arc<Record>)| {
            let decl = pipeline.stage(pipeline.id(stage.as_str())?);
            Some(Settled {
                stage: stage.clone(),
                key: record.key,
                metrics: record.metrics.clone(),
                record: store.record_stamp(&record.key)?,
                blobs: record.blobs().map(|(_, _, blob)| (blob.digest, blob.stamp)).collect(),
                links: checkout.links(stage.as_str(), &decl.ports.outputs, record, store),
            })
        };
        let Some(stages) = summary.results.iter().map(settle).collect() else { return };
        let files = pipeline.files().map(|(path, text)| (path.to_owned(), Digest::of(text))).collect();
        // Only spares the next one the reading.
        let _ = store.remember(&self.name(), &Memo { pipeline: pipeline.name.clone(), files, log, stages });
    }
}

impl Settled {
    fn is_unchanged(&self, store: &Store) -> bool {
        store.record_stamp(&self.key) == Some(self.record)
            && self.blobs.iter().all(|(digest, stamp)| Stamp::of(&store.blob_path(digest)) == Some(*stamp))
            && self.links.iter().all(|(link, target)| fs::read_link(link).is_ok_and(|now| now == *target))
    }
}
