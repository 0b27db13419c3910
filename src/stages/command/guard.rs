//! Sees to it that no program outlives this process, even if that is killed: a shell that sleeps until its input ends and
//! then kills the process groups that are listed in a file without a name. Only a kill in the instant between the start
//! of a program and the line that tells of it leaves that one behind. It does not know what programs do.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::process::Pid;

/// Nothing ends it but the end of its input. What would be its output is the list, which it reads; a line is a group, or
/// blank.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
read -r end
while read -r group; do
  [ -z "$group" ] || kill -s KILL -- "-$group"
done <&1
"#;

/// How wide a line of the list is, with its end: no process has a number of so many digits.
const WIDTH: usize = 12;

/// One for all programs. Without it they still end in every way but one: when this process is killed.
static GUARD: LazyLock<Option<Guard>> = LazyLock::new(|| Guard::start().ok());

/// While this is held, a process group ends with this process.
#[derive(Debug)]
pub struct Watched {
    /// Its line in the list.
    line: Option<usize>,
}

/// Sees to it that there is a guard, so that the first program needs not wait for it once it runs.
pub fn prepare() {
    LazyLock::force(&GUARD);
}

impl Watched {
    /// Has a process group watched.
    #[must_use]
    pub fn group(group: Pid) -> Watched {
        Watched { line: GUARD.as_ref().map(|guard| guard.add(group)) }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some(guard), Some(line)) = (&*GUARD, self.line) {
            guard.remove(line);
        }
    }
}

#[derive(Debug)]
struct Guard {
    /// The input of the shell. The system closes it when this process ends, in whatever way.
    _input: ChildStdin,
    list: File,
    /// Which lines of the list are taken.
    taken: Mutex<Vec<bool>>,
}

impl Guard {
    fn start() -> io::Result<Guard> {
        let list = tempfile::tempfile()?;
        let mut command = Command::new("/bin/sh");
        // In a group of its own, so that what is sent to ours does not reach it.
        command.args(["-c", SCRIPT]).env_clear().current_dir("/").process_group(0);
        let mut child =
            command.stdin(Stdio::piped()).stdout(list.try_clone()?).stderr(Stdio::null()).spawn()?;
        Ok(Guard { _input: child.stdin.take().expect("its input is piped"), list, taken: Mutex::default() })
    }

    /// Adds a group to the list, and tells its line.
    fn add(&self, group: Pid) -> usize {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let line = taken.iter().position(|taken| !taken).unwrap_or_else(|| {
            taken.push(false);
            taken.len() - 1
        });
        taken[line] = true;
        self.write(line, &group.as_raw_nonzero().to_string());
        line
    }

    fn remove(&self, line: usize) {
        self.write(line, "");
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)[line] = false;
    }

    /// Does not move the place from which the shell will read.
    fn write(&self, line: usize, group: &str) {
        let text = format!("{group:>width$}\n", width = WIDTH - 1);
        // A list that cannot be written is as if there were no guard.
        let _ = self.list.write_all_at(text.as_bytes(), (line * WIDTH) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_input_kills_the_groups_that_are_left_and_no_other() {
        let start = || Command::new("sleep").arg("60").process_group(0).spawn().expect("it starts");
        let mut programs = [start(), start(), start(), start()];
        let guard = Guard::start().expect("there is a shell");
        let groups: Vec<Pid> = programs.iter().map(Pid::from_child).collect();
        let lines: Vec<usize> = groups.iter().map(|group| guard.add(*group)).collect();
        guard.remove(lines[1]);
        guard.remove(lines[3]);
        drop(guard);
        for killed in [0, 2] {
            assert_eq!(programs[killed].wait().expect("it ends").code(), None);
        }
        for left in [1, 3] {
            assert!(programs[left].try_wait().expect("it can be asked").is_none());
            programs[left].kill().expect("it runs");
            programs[left].wait().expect("it ends");
        }
    }
}
