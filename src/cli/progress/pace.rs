//! Decides when a running stage is worth another line: not at every batch.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::pipeline::StageName;

/// At most one line per stage and interval.
pub(super) struct Pace {
    interval: Duration,
    told: Mutex<HashMap<StageName, Instant>>,
}

impl Pace {
    pub(super) fn every(interval: Duration) -> Pace {
        Pace { interval, told: Mutex::default() }
    }

    /// Whether it is time for another line; the first comes after one interval.
    pub(super) fn is_due(&self, stage: &StageName) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.entry(stage.clone()).or_insert_with(Instant::now);
        let due = last.elapsed() >= self.interval;
        if due {
            *last = Instant::now();
        }
        due
    }
}
