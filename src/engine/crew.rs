//! Threads that do one task after the other, as many as were ever busy at the same time: to make a thread and let it end
//! takes a good part of the time that a short stage needs. It does not know what is to be done first.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Scope;

use super::worker::Message;

/// What a thread does, and what there is to tell when it is over.
pub(super) type Task<'a> = Box<dyn FnOnce() -> Message<'a> + Send + 'a>;

/// The tasks that have not begun, and whether no more will come.
#[derive(Default)]
pub(super) struct Crew<'a> {
    waiting: Mutex<Waiting<'a>>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting<'a> {
    tasks: VecDeque<Task<'a>>,
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
    /// Has a task begin. `busy` says how many have begun, with this one, that are not over.
    pub(super) fn begin<'s>(
        &'s self,
        task: Task<'a>,
        busy: usize,
        scope: &'s Scope<'s, '_>,
        sender: &Sender<Message<'a>>,
    ) where
        'a: 's,
    {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.tasks.push_back(task);
        if busy > waiting.threads {
            waiting.threads += 1;
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(task) = self.next() {
                    // The loop listens until all that was begun is over.
                    let _ = sender.send(task());
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

    fn next(&self) -> Option<Task<'a>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(task) = waiting.tasks.pop_front() {
                return Some(task);
            }
            if waiting.over {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
