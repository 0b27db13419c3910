//! What a collection takes and what it leaves, and that it all comes back.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::{Artifact, Blob, Digest, Origins, Outcome, Record, Rules, RunEntry, RunLog, Store, Want};

struct Fixture {
    _dir: tempfile::TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Fixture { store: Store::at(dir.path()), _dir: dir }
}

impl Fixture {
    fn blob(&self, bytes: &[u8]) -> Blob {
        let mut writer = self.store.write_blob().expect("writable");
        writer.write_all(bytes).expect("writable");
        writer.finish().expect("writable")
    }

    /// Publishes results of these bytes under the name of a key.
    fn publish(&self, name: &str, bytes: &[&[u8]], chain: Option<Digest>) -> Digest {
        let key = Digest::of(name.as_bytes());
        let files = bytes.iter().enumerate().map(|(n, bytes)| (n.to_string(), self.blob(bytes)));
        let outputs = BTreeMap::from([("out".to_owned(), Artifact::directory(files.collect()))]);
        let mut record = Record::new(key, Value::Null, outputs);
        record.chain = chain;
        let claim = self.store.claim(&key, "test", Want::Anew).expect("writable");
        let crate::store::Claim::Vacant(slot) = claim else { panic!("nobody has it") };
        slot.publish(&record).expect("writable");
        key
    }

    /// Logs a run that ended with these results.
    fn log(&self, pipeline: &str, keys: &[Digest]) {
        let entry = |key: &Digest| RunEntry { key: *key, state: Outcome::Done, origins: Origins::default() };
        let stages = keys.iter().enumerate().map(|(n, key)| (format!("stage{n}"), entry(key))).collect();
        self.store.log_run(&RunLog::new(pipeline, stages)).expect("writable");
    }

    fn sweep(&self, rules: &Rules) -> String {
        let grace = Duration::from_secs(3600);
        let swept = self.store.sweep(rules, grace, |_| Vec::new()).expect("writable");
        swept.bin.unwrap_or_default()
    }

    fn faults(&self) -> usize {
        self.store.verify(&|_, _| {}).expect("readable").findings.len()
    }

    fn has(&self, bytes: &[u8]) -> bool {
        self.store.blob_path(&Digest::of(bytes)).exists()
    }
}

const NEWEST: Rules = Rules { keep_runs: Some(1), keep_best: None, older_than: None, max_bytes: None };

#[test]
fn what_a_kept_run_shares_stays_and_the_rest_comes_back() {
    let f = fixture();
    let (old, new) = (f.publish("old", &[b"shared", b"own"], None), f.publish("new", &[b"shared"], None));
    f.log("a", &[old]);
    f.log("a", &[new]);
    let found = f.store.collect(&NEWEST).expect("readable");
    assert_eq!((found.runs, found.kept_runs), (1, 1));
    let bytes: u64 = found.items.iter().map(|item| item.bytes).sum();
    assert_eq!(bytes, found.bytes);
    assert!(f.has(b"own"), "looking changes nothing");
    let bin = f.sweep(&NEWEST);
    assert!(f.has(b"shared") && !f.has(b"own"));
    assert_eq!((f.store.record(&old), f.faults()), (None, 0));
    let bins = f.store.bins().expect("readable");
    let wrong = f.store.restore(bins.iter().find(|b| b.id == bin).expect("there")).expect("writable");
    assert_eq!(wrong, []);
    assert!(matches!(f.store.find(&old), crate::store::Found::Whole(_)));
    assert_eq!((f.faults(), f.store.runs().expect("readable").len()), (0, 2));
}

#[test]
fn a_chain_stays_as_long_as_a_kept_result_lies_on_it() {
    let f = fixture();
    let way = Digest::of(b"way");
    let chain = f.store.chain(&way);
    chain.keep(1, &[("weights", b"weights".to_vec())]).expect("writable");
    chain.refer(2, BTreeMap::from([("shard".to_owned(), f.blob(b"shard"))])).expect("writable");
    let (old, new) = (f.publish("old", &[b"1"], Some(way)), f.publish("new", &[b"2"], Some(way)));
    f.log("a", &[old]);
    f.log("a", &[new]);
    f.sweep(&NEWEST);
    assert!(chain.find(1).is_some() && chain.find(2).is_some());
    let other = f.publish("other", &[b"3"], None);
    f.log("a", &[other]);
    f.sweep(&NEWEST);
    assert!(chain.positions().expect("readable").is_empty() && !f.has(b"shard"));
    assert_eq!(f.faults(), 0);
}

#[test]
fn what_an_interrupted_run_kept_beyond_a_result_is_not_that_results() {
    let f = fixture();
    let way = Digest::of(b"way");
    let chain = f.store.chain(&way);
    let key = f.publish("short", &[b"short"], Some(way));
    let mut record = f.store.record(&key).expect("published");
    record.reach = Some(1);
    f.store.write_record(&record).expect("writable");
    f.log("a", &[key]);
    chain.keep(1, &[("weights", vec![1; 1000])]).expect("writable");
    let left =
        || f.store.usage().expect("readable").others.get("left by interrupted runs to go on from").copied();
    assert_eq!(left(), None);
    chain.keep(2, &[("weights", vec![2; 1000])]).expect("writable");
    assert!(left().is_some_and(|bytes| (1000..2000).contains(&bytes)), "{:?}", left());
    f.log("a", &[f.publish("other", &[b"other"], None)]);
    f.sweep(&NEWEST);
    assert!(!f.has(b"short") && chain.find(1).is_some() && chain.find(2).is_some());
    let at_once = Rules { older_than: Some(Duration::ZERO), ..NEWEST };
    f.sweep(&at_once);
    assert!(chain.positions().expect("readable").is_empty());
}

#[test]
fn as_many_of_the_newest_runs_stay_as_there_is_room_for() {
    let f = fixture();
    for n in 0..5u8 {
        let key = f.publish(&n.to_string(), &[&[n; 100_000]], None);
        f.log("a", &[key]);
    }
    let rules = |max_bytes| Rules { max_bytes: Some(max_bytes), ..Rules::default() };
    let kept = |room| f.store.collect(&rules(room)).expect("readable").kept_runs;
    assert_eq!([kept(1_000_000), kept(320_000), kept(1)], [5, 3, 1]);
    f.sweep(&rules(320_000));
    assert!(!f.has(&[1; 100_000]) && f.has(&[2; 100_000]));
}

#[test]
fn what_a_living_run_has_looked_up_or_written_stays() {
    let f = fixture();
    let old = f.publish("old", &[b"old"], None);
    f.publish("left", &[b"left"], None);
    std::thread::sleep(Duration::from_millis(1100));
    let living = f.store.enter("a");
    living.look().pin(Some(&old));
    f.blob(b"being made");
    let all = Rules { keep_runs: Some(0), older_than: Some(Duration::ZERO), ..Rules::default() };
    f.sweep(&all);
    assert!(f.has(b"old") && f.has(b"being made") && !f.has(b"left"));
    drop(living);
    f.sweep(&all);
    assert!(!f.has(b"old") && !f.has(b"being made"));
}

#[test]
fn nothing_younger_than_the_given_age_goes() {
    let f = fixture();
    f.blob(b"of no result");
    let found = |age| {
        let rules = Rules { older_than: Some(Duration::from_secs(age)), ..Rules::default() };
        f.store.collect(&rules).expect("readable").items.len()
    };
    assert_eq!([found(3600), found(0)], [0, 1]);
    assert_eq!(f.store.collect(&Rules::default()).expect("readable").items.len(), 1, "without an age");
}

#[test]
fn wherever_a_collection_ends_no_record_is_without_its_blobs() {
    // Whatever is renamed is renamed in the order of the trash's list, so that each prefix of it is an instant
    // at which a collection may have been killed.
    for steps in 0..8 {
        let f = fixture();
        let (old, new) = (f.publish("old", &[b"a", b"b"], None), f.publish("new", &[b"c"], None));
        f.log("a", &[old]);
        f.log("a", &[new]);
        f.store.fill_up_to(&f.store.choose(&NEWEST).expect("readable"), steps);
        assert_eq!(f.faults(), 0, "after {steps} steps");
        let bin = f.store.bins().expect("readable").remove(0);
        drop(f.store.restore(&bin).expect("writable"));
        assert!(matches!(f.store.find(&old), crate::store::Found::Whole(_)), "after {steps} steps");
        assert_eq!((f.faults(), f.store.runs().expect("readable").len()), (0, 2));
    }
}
