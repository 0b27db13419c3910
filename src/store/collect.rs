//! Finds what nobody needs: whatever no kept run ended with, no living run has looked up, and nothing kept refers
//! to. It only looks; the trash takes what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::live::Needs;
use super::owners::Owners;
use super::survey::{Entry, Part};
use super::{Alive, Digest, Error, Form, Link, LoggedRun, Owner, Record, Rules, Store};

/// What an interrupted run has made is left to the next one for so long, unless a rule says otherwise.
const LEFT_TO_THE_NEXT: Duration = Duration::from_secs(7 * 24 * 3600);
/// A file that has been in the making for so long, while no run lives, will not be finished, unless a rule says otherwise.
const LONGEST_IN_THE_MAKING: Duration = Duration::from_secs(3600);

/// What nobody needs.
#[derive(Debug)]
pub struct Collection {
    /// The results and other things, as people know them.
    pub items: Vec<Item>,
    /// The size of all of it.
    pub bytes: u64,
    /// The size of what stays, without the trash.
    pub left: u64,
    /// How many runs go.
    pub runs: usize,
    /// How many runs stay.
    pub kept_runs: usize,
    /// Living runs, for whose sake things stay.
    pub living: Vec<Alive>,
    pub(super) doomed: Vec<Entry>,
    /// Leftovers that are deleted at once.
    pub(super) temporary: Vec<Entry>,
}

/// Something that goes, as people know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What it is.
    pub what: What,
    /// The stages it was computed for, as the runs that go with it have it.
    pub owners: BTreeSet<Owner>,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// The bytes that are freed; what several results share counts for the first of them.
    pub bytes: u64,
}

/// What goes.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A result.
    Result(Box<Record>),
    /// What lies on the way to no result.
    Chain(Digest),
    /// What a computation might have gone on from.
    Partial(Digest),
    /// So many files, such as `damaged files`.
    Files(usize, &'static str),
}

impl Store {
    /// What nobody needs.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn collect(&self, rules: &Rules) -> Result<Collection, Error> {
        let _shared = self.keep_from_collection();
        self.choose(rules)
    }

    /// The same, for whoever has seen to it that nothing is looked up meanwhile.
    pub(super) fn choose(&self, rules: &Rules) -> Result<Collection, Error> {
        let census = Census::new(self, rules)?;
        let kept = census.runs_to_keep();
        Ok(census.collection(&kept))
    }
}

/// Everything there is.
struct Census<'a> {
    rules: &'a Rules,
    runs: Vec<LoggedRun>,
    logged: Owners,
    entries: Vec<Entry>,
    records: BTreeMap<Digest, Record>,
    links: BTreeMap<(Digest, u64), Link>,
    needs: Needs,
    /// In seconds since 1970.
    now: u64,
}

/// What is kept.
struct Kept<'a> {
    keys: BTreeSet<Digest>,
    logs: BTreeSet<&'a str>,
    blobs: BTreeSet<Digest>,
    views: BTreeSet<Digest>,
    chains: BTreeSet<Digest>,
}

impl<'a> Census<'a> {
    fn new(store: &Store, rules: &'a Rules) -> Result<Census<'a>, Error> {
        let needs = store.needs()?;
        let runs = store.runs()?;
        let entries = store.survey()?;
        let mut records = BTreeMap::new();
        let mut links = BTreeMap::new();
        for entry in &entries {
            match entry.part {
                Part::Record(key) => records.extend(store.record(&key).map(|record| (key, record))),
                Part::Link(chain, position) => {
                    links.extend(store.chain(&chain).link(position).map(|link| ((chain, position), link)));
                }
                _ => {}
            }
        }
        let logged = Owners::of(&runs);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Census { rules, runs, logged, entries, records, links, needs, now })
    }

    /// The runs to keep: those the rules name, and as many of the newest others as there is room for.
    fn runs_to_keep(&self) -> BTreeSet<usize> {
        let kept = self.rules.kept(&self.runs, &self.records, &self.needs, self.now);
        let Some(room) = self.rules.max_bytes else { return kept };
        let others: Vec<usize> = (0..self.runs.len()).filter(|at| !kept.contains(at)).collect();
        let without_oldest = |count: usize| kept.iter().chain(&others[count..]).copied().collect();
        // The more runs go the smaller is the store.
        let counts: Vec<usize> = (0..=others.len()).collect();
        let count = counts.partition_point(|count| self.size_of_rest(&without_oldest(*count)) > room);
        without_oldest(count.min(others.len()))
    }

    fn size_of_rest(&self, runs: &BTreeSet<usize>) -> u64 {
        let kept = self.kept(runs);
        let rest = self.entries.iter().filter(|entry| !matches!(entry.part, Part::Bin(_)));
        rest.filter(|entry| !self.is_doomed(entry, &kept)).map(|entry| entry.bytes).sum()
    }

    fn kept(&self, runs: &BTreeSet<usize>) -> Kept<'_> {
        let kept_runs = runs.iter().map(|at| &self.runs[*at]);
        let mut keys = self.needs.keys.clone();
        keys.extend(kept_runs.clone().flat_map(|run| run.log.stages.values().map(|entry| entry.key)));
        for entry in &self.entries {
            if let Part::Record(key) = entry.part
                && (self.is_new(entry) || !self.logged.is_logged(&key) && !self.is_given_up(entry))
            {
                keys.insert(key);
            }
        }
        let records = || keys.iter().filter_map(|key| self.records.get(key));
        let mut blobs: BTreeSet<Digest> =
            records().flat_map(|record| record.blobs().map(|(_, _, blob)| blob.digest)).collect();
        let artifacts = records().flat_map(|record| record.outputs.values());
        let views = artifacts.filter(|a| a.form == Form::Directory).map(|a| a.digest).collect();
        let mut chains: BTreeSet<Digest> = records().filter_map(|record| record.chain).collect();
        for entry in &self.entries {
            // What lies beyond all results on its chain was left by an interrupted run, which went on from what lies before.
            if let Part::Link(chain, position) = entry.part
                && !self.is_given_up(entry)
                && !self.records.values().any(|record| record.has_passed(&chain, position))
            {
                chains.insert(chain);
            }
        }
        if !self.needs.runs.is_empty() {
            chains.extend(self.links.keys().map(|(chain, _)| *chain));
        }
        let links = self.links.iter().filter(|((chain, _), link)| chains.contains(chain) && !link.own);
        blobs.extend(links.flat_map(|(_, link)| link.files.values().map(|blob| blob.digest)));
        Kept { keys, logs: kept_runs.map(|run| run.name.as_str()).collect(), blobs, views, chains }
    }

    fn is_doomed(&self, entry: &Entry, kept: &Kept<'_>) -> bool {
        let nobody_lives = self.needs.runs.is_empty();
        // Whether runs and their results are old enough, the rules have said.
        let is_young = || self.rules.older_than.is_some_and(|age| !self.has_rested(entry, age));
        match &entry.part {
            // A log that cannot be read is for `verify`.
            Part::Log(_, name) => {
                !kept.logs.contains(name.as_str()) && self.runs.iter().any(|run| run.name == *name)
            }
            Part::Record(key) => !kept.keys.contains(key),
            Part::Lost(key) => !kept.keys.contains(key) && !is_young(),
            Part::View(digest) => !kept.views.contains(digest) && !self.is_new(entry) && !is_young(),
            Part::Blob(digest) => !kept.blobs.contains(digest) && !self.is_new(entry) && !is_young(),
            Part::Link(chain, _) => !kept.chains.contains(chain),
            Part::Partial(_) => nobody_lives && self.is_given_up(entry),
            Part::Temporary => {
                let rest = self.rules.older_than.unwrap_or(LONGEST_IN_THE_MAKING);
                nobody_lives && self.has_rested(entry, rest)
            }
            Part::Quarantined | Part::Aside | Part::Answer => !is_young(),
            Part::Index | Part::Memo | Part::Bin(_) | Part::Fixture | Part::Foreign => false,
        }
    }

    /// Whether a living run may have written it.
    fn is_new(&self, entry: &Entry) -> bool {
        self.needs.since().is_some_and(|since| entry.changed >= since)
    }

    /// Whether it has been left for longer than what nobody has asked for is kept.
    fn is_given_up(&self, entry: &Entry) -> bool {
        self.has_rested(entry, self.rules.older_than.unwrap_or(LEFT_TO_THE_NEXT))
    }

    fn has_rested(&self, entry: &Entry, time: Duration) -> bool {
        u64::try_from(entry.changed).unwrap_or(0) / 1_000_000_000 + time.as_secs() <= self.now
    }

    fn collection(self, runs: &BTreeSet<usize>) -> Collection {
        let kept = self.kept(runs);
        let in_store = self.entries.iter().filter(|entry| !matches!(entry.part, Part::Bin(_)));
        let (doomed, staying): (Vec<&Entry>, Vec<&Entry>) =
            in_store.partition(|entry| self.is_doomed(entry, &kept));
        let size = |entries: &[&Entry]| entries.iter().map(|entry| entry.bytes).sum();
        let going = self.runs.iter().filter(|run| !kept.logs.contains(run.name.as_str()));
        let items = items(&doomed, &self.records, &Owners::of(going));
        let is_temporary = |entry: &&&Entry| entry.part == Part::Temporary;
        Collection {
            items,
            bytes: size(&doomed),
            left: size(&staying),
            runs: self.runs.len() - runs.len(),
            kept_runs: runs.len(),
            living: self.needs.runs.clone(),
            temporary: doomed.iter().filter(is_temporary).map(|entry| (*entry).clone()).collect(),
            doomed: doomed.iter().filter(|e| !is_temporary(e)).map(|entry| (*entry).clone()).collect(),
        }
    }
}

/// What goes, as people know it. Every entry counts once.
fn items(doomed: &[&Entry], records: &BTreeMap<Digest, Record>, owners: &Owners) -> Vec<Item> {
    let mut blobs: BTreeMap<Digest, &Entry> = BTreeMap::new();
    let mut chains: BTreeMap<Digest, Vec<&Entry>> = BTreeMap::new();
    for entry in doomed {
        match entry.part {
            Part::Blob(digest) => drop(blobs.insert(digest, entry)),
            Part::Link(chain, _) => chains.entry(chain).or_default().push(entry),
            _ => {}
        }
    }
    let mut items = Vec::new();
    let mut files: BTreeMap<&'static str, (usize, u64, i64)> = BTreeMap::new();
    let mut add = |what: &'static str, entry: &Entry| {
        let sum = files.entry(what).or_insert((0, 0, i64::MIN));
        *sum = (sum.0 + 1, sum.1 + entry.bytes, sum.2.max(entry.changed));
    };
    let mut going: Vec<(&Entry, &Record)> = Vec::new();
    for entry in doomed {
        match &entry.part {
            Part::Record(key) => match records.get(key) {
                Some(record) => going.push((entry, record)),
                None => add("unreadable records", entry),
            },
            Part::Partial(key) => {
                let (what, made) = (What::Partial(*key), to_seconds(entry.changed));
                items.push(Item { what, owners: owners.of_key(key), made, bytes: entry.bytes });
            }
            Part::Log(..) => add("logs of runs", entry),
            Part::Lost(_) => add("notes of losses", entry),
            Part::View(_) => add("views", entry),
            Part::Quarantined => add("damaged files", entry),
            Part::Aside => add("what failures left", entry),
            Part::Answer => add("remembered plans", entry),
            Part::Temporary => add("unfinished files", entry),
            _ => {}
        }
    }
    going.sort_by_key(|(_, record)| std::cmp::Reverse(record.started));
    for (entry, record) in going {
        let named = record.blobs().filter_map(|(_, _, blob)| blobs.remove(&blob.digest));
        let chain = record.chain.and_then(|chain| chains.remove(&chain)).unwrap_or_default();
        let bytes = entry.bytes + named.chain(chain).map(|entry| entry.bytes).sum::<u64>();
        let what = What::Result(Box::new(record.clone()));
        items.push(Item { what, owners: owners.of_key(&record.key), made: record.started, bytes });
    }
    for (chain, entries) in chains {
        let made = entries.iter().map(|entry| to_seconds(entry.changed)).max().unwrap_or(0);
        let bytes = entries.iter().map(|entry| entry.bytes).sum();
        items.push(Item { what: What::Chain(chain), owners: BTreeSet::new(), made, bytes });
    }
    blobs.into_values().for_each(|entry| add("files of no result", entry));
    items.sort_by(|a, b| a.owners.cmp(&b.owners).then(b.made.cmp(&a.made)));
    items.extend(files.into_iter().map(|(what, (count, bytes, changed))| {
        let what = What::Files(count, what);
        Item { what, owners: BTreeSet::new(), made: to_seconds(changed), bytes }
    }));
    items
}

fn to_seconds(nanos: i64) -> u64 {
    u64::try_from(nanos).unwrap_or(0) / 1_000_000_000
}
