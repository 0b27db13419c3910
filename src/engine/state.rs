//! The state of a stage during a run, and the one function that changes it.

/// Where a stage stands in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its inputs are not known yet.
    Unknown,
    /// Its inputs are known, so that its key can be looked up.
    Ready,
    /// It must run, and waits for its turn.
    Queued,
    /// Another process is computing the same key; its result will be taken.
    Waiting,
    /// It runs.
    Running,
    /// Its result was there already.
    Reused,
    /// It ran and its result is kept.
    Done,
    /// It ran and failed.
    Failed,
    /// It did not run, because an input failed or because the run ended early, after another failure or a request to stop.
    Skipped,
    /// It was stopped because the run was interrupted.
    Interrupted,
}

/// What happens to a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The last of its inputs became known.
    InputsKnown,
    /// A result for its key was found.
    Hit,
    /// No result for its key was found.
    Miss,
    /// Another process holds its key.
    Held,
    /// Its key is ours and its work begins.
    Begun,
    /// Its result was published.
    Published,
    /// Something went wrong.
    Broke,
    /// An input failed, or the run ends early.
    GivenUp,
    /// The run was interrupted.
    Stopped,
}

impl State {
    /// The state after a signal.
    ///
    /// # Panics
    /// If the signal cannot happen in this state, which is a bug of the run loop.
    #[must_use]
    pub fn after(self, signal: Signal) -> State {
        match (self, signal) {
            (State::Unknown, Signal::InputsKnown) => State::Ready,
            (State::Ready | State::Queued | State::Waiting, Signal::Hit) => State::Reused,
            (State::Ready, Signal::Miss) => State::Queued,
            (State::Queued | State::Waiting, Signal::Held) => State::Waiting,
            (State::Queued | State::Waiting, Signal::Begun) => State::Running,
            (State::Running, Signal::Published) => State::Done,
            (State::Ready | State::Queued | State::Waiting | State::Running, Signal::Broke) => State::Failed,
            (State::Unknown | State::Ready | State::Queued, Signal::GivenUp) => State::Skipped,
            (from, Signal::Stopped) if !from.is_final() => State::Interrupted,
            (from, signal) => unreachable!("{signal:?} cannot happen to a stage that is {from:?}"),
        }
    }

    /// Whether nothing more happens to the stage in this run.
    #[must_use]
    pub fn is_final(self) -> bool {
        use State::{Done, Failed, Interrupted, Reused, Skipped};
        matches!(self, Reused | Done | Failed | Skipped | Interrupted)
    }

    /// The word used in messages and events.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Ready => "ready",
            State::Queued => "queued",
            State::Waiting => "waiting",
            State::Running => "running",
            State::Reused => "reused",
            State::Done => "done",
            State::Failed => "failed",
            State::Skipped => "skipped",
            State::Interrupted => "interrupted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(signals: &[Signal]) -> State {
        signals.iter().fold(State::Unknown, |state, signal| state.after(*signal))
    }

    #[test]
    fn a_miss_leads_through_the_queue_to_done() {
        use Signal::{Begun, InputsKnown, Miss, Published};
        assert_eq!(walk(&[InputsKnown, Miss, Begun, Published]), State::Done);
    }

    #[test]
    fn what_another_process_made_meanwhile_is_reused() {
        use Signal::{Held, Hit, InputsKnown, Miss};
        assert_eq!(walk(&[InputsKnown, Miss, Held, Hit]), State::Reused);
    }

    #[test]
    fn an_interruption_ends_whatever_is_not_over() {
        use Signal::{Begun, InputsKnown, Miss, Stopped};
        assert_eq!(walk(&[Stopped]), State::Interrupted);
        assert_eq!(walk(&[InputsKnown, Miss, Begun, Stopped]), State::Interrupted);
    }

    #[test]
    #[should_panic(expected = "Published cannot happen to a stage that is Ready")]
    fn nothing_is_done_without_having_run() {
        let _ = walk(&[Signal::InputsKnown, Signal::Published]);
    }
}
