//! Makes files and folders durable, those of several works together. Many are synced by one call for the whole file system,
//! which takes far less time than a call for each. It knows paths, no blobs and no records.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use super::{Action, Error};

/// Syncs what each of several works needs, and hands those on for which it succeeded.
pub(super) fn synced<T>(
    works: Vec<Result<T, Error>>,
    needs: impl Fn(&T) -> BTreeSet<PathBuf>,
) -> Vec<Result<T, Error>> {
    let needs: Vec<BTreeSet<PathBuf>> =
        works.iter().map(|work| work.as_ref().map(&needs).unwrap_or_default()).collect();
    let all: BTreeSet<&PathBuf> = needs.iter().flatten().collect();
    if whole::sync(&all) {
        return works;
    }
    let mut done = BTreeSet::new();
    let mut sync = |path: &PathBuf| {
        if done.contains(path) {
            return Ok(());
        }
        File::open(path).and_then(|file| file.sync_all()).map_err(Error::at(Action::Write, path))?;
        done.insert(path.clone());
        Ok(())
    };
    let synced = |(work, needs): (Result<T, Error>, &BTreeSet<PathBuf>)| {
        work.and_then(|work| needs.iter().try_for_each(&mut sync).map(|()| work))
    };
    works.into_iter().zip(&needs).map(synced).collect()
}

/// Syncing of whole file systems.
#[cfg(target_os = "linux")]
mod whole {
    use std::os::unix::fs::MetadataExt;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// From so many paths on it is worth it: it writes as well what nobody waits for.
    const MANY: usize = 8;

    /// If it takes longer than this, somebody else writes a lot, and nobody is to wait for that again.
    const LONG: Duration = Duration::from_secs(1);

    static IS_OFF: LazyLock<AtomicBool> = LazyLock::new(|| AtomicBool::new(!tells_of_errors()));

    /// Makes paths durable by syncing all of the file system that they are in. If it did not, they are to be synced one by one.
    pub(super) fn sync(paths: &BTreeSet<&PathBuf>) -> bool {
        if paths.len() < MANY || IS_OFF.load(Ordering::Relaxed) {
            return false;
        }
        let device = |path: &PathBuf| path.metadata().map(|metadata| metadata.dev()).ok();
        let Some(Ok(file)) = paths.first().map(File::open) else { return false };
        let Ok(first) = file.metadata().map(|metadata| metadata.dev()) else { return false };
        if !paths.iter().all(|path| device(path) == Some(first)) {
            return false;
        }
        let begun = Instant::now();
        let outcome = rustix::fs::syncfs(file);
        if begun.elapsed() > LONG {
            IS_OFF.store(true, Ordering::Relaxed);
        }
        outcome.is_ok()
    }

    /// Whether the system tells if it could not write: so it does since Linux 5.8, says syncfs(2).
    fn tells_of_errors() -> bool {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(5), Some(8))
    }
}

/// Nothing but Linux can.
#[cfg(not(target_os = "linux"))]
mod whole {
    use super::*;

    pub(super) fn sync(_paths: &BTreeSet<&PathBuf>) -> bool {
        false
    }
}
