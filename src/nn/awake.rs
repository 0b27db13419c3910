//! Keeps the pool's threads awake while work runs that consists of many short loops over the cores, with a little between them
//! that only one core does.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use rayon::Yield;

/// How often an idle thread looks for work before it lets other threads of the machine go first.
const LOOKS: usize = 16;

/// An idle thread comes sooner. One that comes later had other work, which may wait for it to come back.
const SOON: Duration = Duration::from_millis(1);

/// How many works are being done. Threads stay awake for one alone: among several there is enough to do, and a thread that
/// waits within one must not stay with another.
static WORKS: AtomicUsize = AtomicUsize::new(0);

/// Does work in the pool, and keeps the pool's other threads awake until it is done: each loop would else have to wake them,
/// some hundred times in a step of training, since they fall asleep after a few microseconds without work.
pub fn awake<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| {
        let (worker, start) = (rayon::current_thread_index(), Instant::now());
        let this = Work(Arc::default());
        if WORKS.fetch_add(1, Ordering::Relaxed) == 0 {
            let is_over = this.0.clone();
            // Nobody waits for threads that are at other work.
            rayon::spawn_broadcast(move |context| {
                if Some(context.index()) != worker && start.elapsed() < SOON {
                    look_for_work(&is_over);
                }
            });
        }
        work()
    })
}

/// Does what work the pool has.
fn look_for_work(is_over: &AtomicBool) {
    let mut looks = 0;
    while !is_over.load(Ordering::Relaxed) && WORKS.load(Ordering::Relaxed) == 1 {
        if rayon::yield_now() == Some(Yield::Executed) {
            looks = 0;
        } else if looks < LOOKS {
            looks += 1;
            spin_loop();
        } else {
            looks = 0;
            yield_now();
        }
    }
}

/// A work that is being done, and whether it is over. It is when this is dropped, also by a panic.
struct Work(Arc<AtomicBool>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        WORKS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread::ThreadId;

    use rayon::prelude::*;

    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
    }

    #[test]
    fn the_loops_of_some_work_run_on_all_threads() {
        for threads in 1..4 {
            let seen: HashSet<ThreadId> = pool(threads).install(|| {
                awake(|| {
                    let seen = std::sync::Mutex::new(HashSet::new());
                    while seen.lock().unwrap().len() < threads {
                        (0..1000).into_par_iter().with_max_len(1).for_each(|_| {
                            seen.lock().unwrap().insert(std::thread::current().id());
                        });
                    }
                    seen.into_inner().unwrap()
                })
            });
            assert_eq!(seen.len(), threads);
        }
    }

    #[test]
    fn works_side_by_side_and_within_each_other_end() {
        let sums: Vec<usize> = pool(3).install(|| {
            (0..8).into_par_iter().map(|i| awake(|| awake(|| (0..i).into_par_iter().sum()))).collect()
        });
        assert_eq!(sums, [0, 0, 1, 3, 6, 10, 15, 21]);
    }

    #[test]
    fn a_panic_ends_it() {
        let outcome = catch_unwind(AssertUnwindSafe(|| pool(2).install(|| awake(|| panic!("at work")))));
        assert!(outcome.is_err());
    }
}
