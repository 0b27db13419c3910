//! The threads that work off an agenda: each begins the next stage by itself when one is over, and one keeps the results. To
//! make a thread for each stage, or to wake one up for each step of it, takes a good part of the time that a short stage needs.
//! They tell the run loop what came of it, and only that decides what is to be done next.

use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use super::Stop;
use super::agenda::{Agenda, Limits};
use super::keep::{Computed, Impatient, Kept, keep};
use super::state::State;
use super::worker::{Ending, Worker};
use crate::pipeline::StageId;
use crate::store::Store;

/// What the threads tell the loop.
pub(super) enum Message {
    /// A stage's work has ended without a result that is to be kept, in this state; its core is not free before the loop says so.
    Over(StageId, State, Ending),
    /// What came of results that were to be kept.
    Kept(Vec<Kept>),
    /// A request to stop keeps all of them from going on.
    Stopped,
}

/// An agenda, and the threads that work it off.
pub(super) struct Crew<'a> {
    state: Mutex<Shift<'a>>,
    /// Something may begin, or no more will come.
    to_begin: Condvar,
    impatient: &'a Impatient,
    store: &'a Store,
    stop: &'a Stop,
}

struct Shift<'a> {
    agenda: Agenda<Worker<'a>, Computed<'a>>,
    /// How many threads wait for something to begin, and how many have been made and have not looked yet.
    idle: usize,
    coming: usize,
    keeper: Keeper,
    is_over: bool,
}

/// What the thread does that keeps results.
#[derive(PartialEq)]
enum Keeper {
    /// It is not there yet.
    Missing,
    Busy,
    /// It waits for a first result.
    Waiting,
    /// It waits for more results, but not for long.
    Patient,
}

/// Dismisses a crew.
pub(super) struct Dismissal<'s, 'a>(&'s Crew<'a>);

impl Drop for Dismissal<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.to_begin.notify_all();
        self.0.impatient.to_keep.notify_all();
    }
}

impl<'a> Crew<'a> {
    /// A crew without threads and with nothing to do.
    pub(super) fn new(
        limits: Limits,
        impatient: &'a Impatient,
        store: &'a Store,
        stop: &'a Stop,
    ) -> Crew<'a> {
        let agenda = Agenda::new(limits);
        let shift = Shift { agenda, idle: 0, coming: 0, keeper: Keeper::Missing, is_over: false };
        Crew { state: Mutex::new(shift), to_begin: Condvar::new(), impatient, store, stop }
    }

    /// Does something to the agenda; [`Crew::go_on`] has the threads see it.
    pub(super) fn agenda<T>(&self, change: impl FnOnce(&mut Agenda<Worker<'a>, Computed<'a>>) -> T) -> T {
        change(&mut self.lock().agenda)
    }

    /// Lets the threads end when this is dropped, also by a panic: nothing else would.
    pub(super) fn dismissed_at_the_end(&self) -> Dismissal<'_, 'a> {
        Dismissal(self)
    }

    /// Has as many threads at work as there is work for them. Is any of it left?
    pub(super) fn go_on<'s>(&'s self, scope: &'s Scope<'s, '_>, sender: &Sender<Message>) -> bool
    where
        'a: 's,
    {
        let mut shift = self.lock();
        if shift.agenda.is_at_rest(self.stop.is_requested()) {
            return false;
        }
        if shift.keeper == Keeper::Missing {
            shift.keeper = Keeper::Busy;
            let sender = sender.clone();
            scope.spawn(move || self.keep_results(&sender));
        }
        self.call_keeper(&shift);
        let may_begin = if self.stop.is_requested() { 0 } else { shift.agenda.may_begin() };
        for _ in shift.idle + shift.coming..may_begin {
            shift.coming += 1;
            let sender = sender.clone();
            scope.spawn(move || self.compute_stages(&sender));
        }
        for _ in 0..may_begin.min(shift.idle) {
            self.to_begin.notify_one();
        }
        true
    }

    fn compute_stages(&self, sender: &Sender<Message>) {
        let mut shift = self.lock();
        shift.coming -= 1;
        while !shift.is_over {
            let is_stopped = self.stop.is_requested();
            let next = if is_stopped { None } else { shift.agenda.begin() };
            let Some((id, worker)) = next else {
                if is_stopped {
                    // The loop listens until the crew is dismissed.
                    let _ = sender.send(Message::Stopped);
                }
                shift.idle += 1;
                shift = self.to_begin.wait(shift).unwrap_or_else(PoisonError::into_inner);
                shift.idle -= 1;
                continue;
            };
            self.call_keeper(&shift);
            drop(shift);
            let (state, outcome) = worker.work();
            shift = self.lock();
            match outcome {
                Ok(computed) => {
                    shift.agenda.end_with(id, *computed);
                    self.call_keeper(&shift);
                    if shift.idle > 0 && shift.agenda.may_begin() > 1 {
                        self.to_begin.notify_all();
                    }
                }
                Err(ending) => _ = sender.send(Message::Over(id, state, ending)),
            }
        }
    }

    fn keep_results(&self, sender: &Sender<Message>) {
        let mut shift = self.lock();
        while !shift.is_over {
            if let Some(results) = shift.agenda.begin_keeping(self.may_wait()) {
                shift.keeper = Keeper::Busy;
                drop(shift);
                let _ = sender.send(Message::Kept(keep(results, self.store)));
                shift = self.lock();
                continue;
            }
            shift = match shift.agenda.patience() {
                Some(patience) => {
                    shift.keeper = Keeper::Patient;
                    let waited = self.impatient.to_keep.wait_timeout(shift, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    shift.keeper = Keeper::Waiting;
                    self.impatient.to_keep.wait(shift).unwrap_or_else(PoisonError::into_inner)
                }
            };
            shift.keeper = Keeper::Busy;
        }
    }

    /// Wakes the thread that keeps results, if there is something for it to do or to wait for.
    fn call_keeper(&self, shift: &Shift) {
        let is_needed = match shift.keeper {
            Keeper::Missing | Keeper::Busy => false,
            Keeper::Waiting => shift.agenda.patience().is_some(),
            Keeper::Patient => shift.agenda.is_keeping_due(self.may_wait()),
        };
        if is_needed {
            self.impatient.to_keep.notify_one();
        }
    }

    /// Whether results may wait for others to be kept with.
    fn may_wait(&self) -> bool {
        !self.stop.is_requested() && !self.impatient.are_there()
    }

    fn lock(&self) -> MutexGuard<'_, Shift<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
