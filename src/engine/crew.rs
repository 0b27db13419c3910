//! Threads that compute stages one after the other, as many as were ever busy at the same time: to make a thread and let it
//! end takes a good part of the time that a short stage needs. It does not know what is to be done first.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Scope;

use super::worker::{Message, Worker};

/// The workers that have not begun, and whether no more will come.
#[derive(Default)]
pub(super) struct Crew<'a> {
    waiting: Mutex<Waiting<'a>>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting<'a> {
    workers: VecDeque<Worker<'a>>,
    threads: usize,
    over: bool,
}

/// Dismisses a crew.
pub(super) struct Dismissal<'s, 'a>(&'s Crew<'a>);

impl Drop for Dismissal<'_, '_> {
    fn drop(&mut self) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.0.changed.notify_all();
    }
}

impl<'a> Crew<'a> {
    /// Has a worker begin. `busy` says how many have begun, with this one, that have not told their ending.
    pub(super) fn begin<'s>(
        &'s self,
        worker: Worker<'a>,
        busy: usize,
        scope: &'s Scope<'s, '_>,
        sender: &Sender<Message>,
    ) where
        'a: 's,
    {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.workers.push_back(worker);
        if busy > waiting.threads {
            waiting.threads += 1;
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(worker) = self.next() {
                    let id = worker.id;
                    let ending = worker.work(&sender);
                    // The loop listens until the last worker has told its ending.
                    let _ = sender.send(Message::Over(id, ending));
                }
            });
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Lets the threads end when this is dropped, also by a panic: nothing else would.
    pub(super) fn dismissed_at_the_end(&self) -> Dismissal<'_, 'a> {
        Dismissal(self)
    }

    fn next(&self) -> Option<Worker<'a>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(worker) = waiting.workers.pop_front() {
                return Some(worker);
            }
            if waiting.over {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
