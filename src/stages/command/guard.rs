//! Sees to it that no program outlives this process, even if that is killed: a shell that is told of every process
//! group and, when its input ends, kills those that are left. Only a kill in the instant between the start of a
//! program and the line that tells of it leaves that one behind. It does not know what programs do.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::process::Pid;

/// Reads a line `+ GROUP` or `- GROUP` for every group that begins or ends. Nothing ends it but the end of its input.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
"#;

/// One for all programs. Without it they still end in every way but one: when this process is killed.
static GUARD: LazyLock<Option<Guard>> = LazyLock::new(|| Guard::start().ok());

/// While this is held, a process group ends with this process.
#[derive(Debug)]
pub struct Watched(Pid);

/// Sees to it that there is a guard, so that the first program needs not wait for it once it runs.
pub fn prepare() {
    LazyLock::force(&GUARD);
}

impl Watched {
    /// Has a process group watched.
    #[must_use]
    pub fn group(group: Pid) -> Watched {
        if let Some(guard) = &*GUARD {
            guard.tell('+', group);
        }
        Watched(group)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(guard) = &*GUARD {
            guard.tell('-', self.0);
        }
    }
}

/// The shell. The system closes its input when this process ends, in whatever way.
#[derive(Debug)]
struct Guard(Mutex<ChildStdin>);

impl Guard {
    fn start() -> io::Result<Guard> {
        let mut command = Command::new("/bin/sh");
        // In a group of its own, so that what is sent to ours does not reach it.
        command.args(["-c", SCRIPT]).env_clear().current_dir("/").process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Guard(Mutex::new(child.stdin.take().expect("its input is piped"))))
    }

    fn tell(&self, sign: char, group: Pid) {
        let line = format!("{sign} {}\n", group.as_raw_nonzero());
        // If somebody has ended it, there is nobody to tell.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
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
        groups.iter().for_each(|group| guard.tell('+', *group));
        guard.tell('-', groups[1]);
        guard.tell('-', groups[3]);
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
