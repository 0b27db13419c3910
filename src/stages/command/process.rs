//! A program run to its end: its lines as they come, and its whole process group ended with it or on
//! demand. It does not know what the program is for.

use std::env;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, access};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, kill_process_group};

use super::guard::{self, Watched};

const LOOK_UP_EVERY: Duration = Duration::from_millis(50);
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
const GRACE: Duration = Duration::from_secs(2);

/// Held for reading by whoever starts a program.
static STARTING: RwLock<()> = RwLock::new(());
/// The process groups of the programs that run.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Why a program did not come to an end of its own.
#[derive(Debug)]
pub enum Cut {
    /// It could not be started, or not be waited for.
    Unstartable(io::Error),
    /// It was asked to stop.
    Stopped,
    /// It took too long.
    TimedOut,
}

/// A running program; dropping it kills its whole process group, and so does the end of this process.
struct Running {
    child: Child,
    group: Pid,
    _watched: Watched,
}

/// What a program writes to either output, in lines.
struct Output {
    /// `None` once it has ended.
    pipe: Option<PipeReader>,
    /// The beginning of a line.
    begun: Vec<u8>,
}

/// Runs a program with no input, and hands on each line that it writes to either output, until it has ended.
///
/// # Errors
/// If it cannot be started, `stop` turned true, or the time is up.
pub fn run(
    command: &mut Command,
    timeout: Option<Duration>,
    stop: impl Fn() -> bool,
    mut line: impl FnMut(&str),
) -> Result<ExitStatus, Cut> {
    let (mut running, mut output) = start(command).map_err(Cut::Unstartable)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut pause = SHORTEST_PAUSE;
    loop {
        output.read_on(LOOK_UP_EVERY, &mut line);
        if let Some(status) = running.child.try_wait().map_err(Cut::Unstartable)? {
            // Whatever the program left running in the background ends with it, and with that the output;
            // unless it left the group, and then nobody waits for it.
            drop(running);
            while output.read_on(GRACE, &mut line) {}
            output.end(&mut line);
            return Ok(status);
        }
        if stop() {
            running.end(output);
            return Err(Cut::Stopped);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            running.end(output);
            return Err(Cut::TimedOut);
        }
        if output.pipe.is_none() {
            // Most programs end as soon as they have closed their output.
            std::thread::sleep(pause);
            pause = LOOK_UP_EVERY.min(2 * pause);
        }
    }
}

/// Kills every program that runs, with its process group, and lets none start any more: for a process that ends.
pub fn kill_all() {
    let starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    for group in GROUPS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        kill_process_group(*group, Signal::KILL).ok();
    }
    std::mem::forget(starting);
}

/// Where a program lies, as the search path has it; its bare name if it is not there. A program given by its path
/// is started without a copy of this process, which is much faster.
#[must_use]
pub fn find_program(name: &str) -> PathBuf {
    let is_program = |path: &PathBuf| access(path, Access::EXEC_OK).is_ok() && path.is_file();
    let search = || env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(is_program);
    let bare = !name.contains('/');
    bare.then(search).flatten().filter(|path| path.is_absolute()).unwrap_or_else(|| name.into())
}

fn start(command: &mut Command) -> io::Result<(Running, Output)> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    guard::prepare();
    let starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    let group = Pid::from_child(&child);
    let running = Running { child, group, _watched: Watched::group(group) };
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).push(group);
    drop(starting);
    // The command still holds our ends of the pipe; let go of them, or the output never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((running, Output { pipe: Some(reader), begun: Vec::new() }))
}

impl Output {
    /// Waits so long at most for more output, and hands on the lines that it completes; false if none came.
    fn read_on(&mut self, wait: Duration, line: &mut impl FnMut(&str)) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let wait = Timespec::try_from(wait).expect("no wait is that long");
        let ready = retry_on_intr(|| poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&wait)));
        if ready == Ok(0) {
            return false;
        }
        let mut bytes = [0; 8 << 10];
        match pipe.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Ok(0) | Err(_) => {
                self.end(line);
                return false;
            }
            Ok(n) => self.begun.extend_from_slice(&bytes[..n]),
        }
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for text in self.begun[..whole].split_inclusive(|byte| *byte == b'\n') {
            line(String::from_utf8_lossy(text).trim_end());
        }
        self.begun.drain(..whole);
        true
    }

    /// Hands on a last line that nothing completes any more.
    fn end(&mut self, line: &mut impl FnMut(&str)) {
        self.pipe = None;
        if !self.begun.is_empty() {
            line(String::from_utf8_lossy(&std::mem::take(&mut self.begun)).trim_end());
        }
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        // The group may be gone already, and that is all we want.
        kill_process_group(self.group, signal).ok();
    }

    /// Asks the program to end, and kills it if it does not; its output is read on, so that it can.
    fn end(&mut self, mut output: Output) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if !output.read_on(LOOK_UP_EVERY, &mut |_: &str| {}) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // Before the number is free for another process.
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|group| *group != self.group);
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    fn lines_of(line: &str) -> (bool, Vec<String>) {
        let mut lines = Vec::new();
        let status = run(&mut sh(line), None, || false, |text| lines.push(text.to_string()));
        (status.expect("it ends").success(), lines)
    }

    #[test]
    fn a_bare_name_is_looked_for_along_the_search_path() {
        assert!(find_program("sh").is_absolute() && find_program("sh").ends_with("sh"));
        assert_eq!(find_program("./sh"), PathBuf::from("./sh"));
        assert_eq!(find_program("no-such-program"), PathBuf::from("no-such-program"));
    }

    #[test]
    fn both_outputs_come_line_by_line_in_order() {
        assert_eq!(
            lines_of("echo a; echo b >&2; printf c"),
            (true, ["a", "b", "c"].map(String::from).into())
        );
        assert_eq!(lines_of("echo x; exit 3"), (false, vec!["x".into()]));
    }

    #[test]
    fn a_program_left_in_the_background_ends_with_the_first() {
        let start = Instant::now();
        assert_eq!(lines_of("sleep 60 & echo started"), (true, vec!["started".into()]));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_stop_or_the_time_limit_ends_the_whole_group() {
        let folder = tempfile::tempdir().expect("a folder");
        let line = "sleep 60 & echo $! > child; wait";
        let start = Instant::now();
        let ended = run(sh(line).current_dir(&folder), Some(Duration::from_millis(300)), || false, |_| {});
        assert!(matches!(ended, Err(Cut::TimedOut)), "{ended:?}");
        let child = std::fs::read_to_string(folder.path().join("child")).expect("a process id");
        let child = Pid::from_raw(child.trim().parse().expect("a number")).expect("a process id");
        while rustix::process::test_kill_process(child).is_ok() && !is_zombie(child) {
            assert!(start.elapsed() < Duration::from_secs(30), "the child still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = run(&mut sh("trap '' TERM; sleep 60"), None, || true, |_| {});
        assert!(matches!(ended, Err(Cut::Stopped)), "{ended:?}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    /// Nobody may have collected the orphan yet.
    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|text| text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
    }
}
