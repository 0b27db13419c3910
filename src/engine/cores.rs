//! The cores of a run, and how many stages may use them: taken by a stage when it begins, given back when its work is done.
//! So the next one can make itself ready before there is room for it. It does not know what stages do.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Stop;
use super::run::Limits;

/// How soon a request to stop is noticed.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// What is free.
#[derive(Debug)]
pub(super) struct Cores {
    free: Mutex<Free>,
    given_back: Condvar,
}

#[derive(Debug)]
struct Free {
    jobs: usize,
    cores: usize,
    closed: bool,
}

/// Room for one stage, until it is dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    from: &'a Cores,
    cores: usize,
}

impl Cores {
    pub(super) fn new(limits: Limits) -> Cores {
        let free = Free { jobs: limits.jobs, cores: limits.threads, closed: false };
        Cores { free: Mutex::new(free), given_back: Condvar::new() }
    }

    /// Waits until there is room for a stage with so many cores; `None` if nothing is to begin any more.
    pub(super) fn take(&self, cores: usize, stop: &Stop) -> Option<Room<'_>> {
        let mut free = self.lock();
        loop {
            if free.closed || stop.is_requested() {
                return None;
            }
            if free.jobs > 0 && free.cores >= cores {
                free.jobs -= 1;
                free.cores -= cores;
                return Some(Room { from: self, cores });
            }
            let waited = self.given_back.wait_timeout(free, LOOK_UP_EVERY);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets nothing begin any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.given_back.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut free = self.from.lock();
        free.jobs += 1;
        free.cores += self.cores;
        drop(free);
        self.from.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_when_some_was_given_back_and_none_once_closed() {
        let (cores, stop) = (Cores::new(Limits { jobs: 2, threads: 3 }), Stop::new());
        let two = cores.take(2, &stop).expect("three are free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cores.take(2, &stop).is_some());
            drop(cores.take(1, &stop).expect("one is free"));
            drop(two);
            assert!(waiting.join().expect("it ends"));
        });
        let rooms = [cores.take(0, &stop), cores.take(0, &stop)];
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cores.take(0, &stop).is_none());
            cores.close();
            assert!(waiting.join().expect("no third job begins"));
        });
        drop(rooms);
        assert!(cores.take(1, &stop).is_none());
    }
}
