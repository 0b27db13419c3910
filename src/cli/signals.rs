//! What Ctrl-C means for a run, and what the other signals mean that end processes. The first asks the stages to stop at
//! a safe point, the second stops at once. Either way the store stays right, and no program of a stage's is left behind.

use std::time::{Duration, Instant};

use super::exit::INTERRUPTED;
use super::say::say;
use crate::engine::Stop;
use crate::stages::command::kill_all_programs;

/// `timeout` and shells that close send a signal to a process and to its group: that is one request, not two.
const ONE_REQUEST: Duration = Duration::from_millis(50);

/// Has Ctrl-C, SIGTERM and SIGHUP request a stop from now on.
///
/// # Errors
/// If the system refuses.
pub(super) fn watch(stop: &'static Stop) -> Result<(), ctrlc::Error> {
    let outlives_its_terminal = is_hangup_ignored();
    let mut first = None;
    ctrlc::set_handler(move || {
        let first: Instant = *first.get_or_insert_with(|| {
            say(
                "stopping at the next safe point: finished stages, epochs and shards and downloaded bytes are kept; \
                 press Ctrl-C again to stop at once",
            );
            stop.request();
            Instant::now()
        });
        if first.elapsed() > ONE_REQUEST {
            kill_all_programs();
            say("stopped at once; what was finished before is kept");
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    if outlives_its_terminal {
        ignore_hangup();
    }
    survive_file_limits();
    Ok(())
}

/// Whether somebody, such as `nohup`, has seen to it that the end of the terminal does not matter.
fn is_hangup_ignored() -> bool {
    // SAFETY: all-zero bytes are a valid `sigaction`, and with no new action the call only fills it in.
    let now = unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut now) == 0).then_some(now.sa_sigaction)
    };
    now == Some(libc::SIG_IGN)
}

fn ignore_hangup() {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

/// Has a write beyond the limit of `ulimit -f` fail instead of ending the process. Programs of stages keep the signal's
/// own meaning, because a handler, unlike an ignored signal, is not inherited.
fn survive_file_limits() {
    extern "C" fn carry_on(_: libc::c_int) {}
    let carry_on: extern "C" fn(libc::c_int) = carry_on;
    // SAFETY: the handler does nothing, which is allowed at any time.
    unsafe { libc::signal(libc::SIGXFSZ, carry_on as libc::sighandler_t) };
}
