//! Points between two writes at which a test kills the process, to see that the store is right all the same. Outside
//! the library's own tests they are nothing at all.

use std::path::Path;

/// Something was just done to a path; a test may end the process here.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn failpoint(_done: &'static str, _path: &Path) {}

/// Something was just done to a path; the process ends here if it was told to.
#[cfg(test)]
pub(crate) fn failpoint(done: &'static str, path: &Path) {
    plan::reach(&format!("{done}: {}", plan::place(path)));
}

#[cfg(test)]
pub(crate) use plan::{KILL_AT, TRACE};

#[cfg(test)]
mod plan {
    use std::collections::BTreeMap;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::path::Path;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    /// The environment variable with the point to be killed at, as `<how many times it is reached> <its name>`.
    pub(crate) const KILL_AT: &str = "STLPIPE_TEST_KILL_AT";
    /// The environment variable with the file to which each point that is reached is added, one a line.
    pub(crate) const TRACE: &str = "STLPIPE_TEST_TRACE";

    static PLAN: LazyLock<Option<Mutex<Plan>>> = LazyLock::new(|| Plan::of_environment().map(Mutex::new));

    #[derive(Default)]
    struct Plan {
        kill_at: Option<(usize, String)>,
        trace: Option<File>,
        reached: BTreeMap<String, usize>,
    }

    impl Plan {
        fn of_environment() -> Option<Plan> {
            let kill_at = std::env::var(KILL_AT).ok().and_then(|text| {
                let (count, name) = text.split_once(' ')?;
                Some((count.parse().ok()?, name.to_owned()))
            });
            let trace = std::env::var_os(TRACE).map(|path| {
                OpenOptions::new().create(true).append(true).open(path).expect("the trace is writable")
            });
            let wanted = kill_at.is_some() || trace.is_some();
            wanted.then(|| Plan { kill_at, trace, ..Plan::default() })
        }
    }

    pub(super) fn reach(name: &str) {
        let Some(plan) = &*PLAN else { return };
        let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = plan.reached.entry(name.to_owned()).or_default();
        *reached += 1;
        let reached = *reached;
        if let Some(trace) = &mut plan.trace {
            writeln!(trace, "{name}").expect("the trace is writable");
        }
        if plan.kill_at.as_ref().is_some_and(|(count, at)| *count == reached && at == name) {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            std::thread::park();
        }
    }

    /// The folder of a store named `cache` in which something lies, or else `data`.
    pub(super) fn place(path: &Path) -> String {
        let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
        let store = names.iter().rposition(|name| name == "cache");
        store.map_or("data", |at| names.get(at + 1).map_or("cache", AsRef::as_ref)).to_owned()
    }
}
