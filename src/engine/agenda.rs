//! What is still to be done in a run, what is under way, and what waits to be kept. It says what may begin now, and begins
//! nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::stage::Cost;
use crate::pipeline::StageId;

/// What a stage may keep busy; the queue has a part for each.
const COSTS: [Cost; 3] = [Cost::Waiting, Cost::OneCore, Cost::AllCores];

/// How many results may be on their way to the disk at the same time.
const KEEPING: usize = 64;

/// So many results are kept at once, even though there is more to begin.
const TOGETHER: usize = 16;

/// So long a result may wait for others to be kept with, while there is more to begin.
const PATIENCE: Duration = Duration::from_millis(50);

/// What took longer to compute does not wait: if the process is killed meanwhile, all of that is lost.
const DEAR: Duration = Duration::from_secs(1);

/// How much may go on at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Stages at the same time.
    pub jobs: usize,
    /// Cores in use at the same time.
    pub threads: usize,
}

/// What is to be done, and how far it is. `T` is what a stage needs to begin, `R` its result.
pub(super) struct Agenda<T, R> {
    limits: Limits,
    /// What must run and has not begun, by cost and position.
    queue: [BTreeMap<usize, (StageId, T)>; COSTS.len()],
    running: BTreeMap<StageId, (Cost, Instant)>,
    /// What waits to be kept, and since when the first of it waits.
    computed: Vec<(StageId, R)>,
    oldest: Instant,
    /// Whether one of them is not to wait.
    is_urgent: bool,
    /// How many results are being kept: the disk is busy with them, no core.
    keeping: usize,
}

impl<T, R> Agenda<T, R> {
    /// Nothing to be done.
    pub(super) fn new(limits: Limits) -> Agenda<T, R> {
        Agenda {
            limits,
            queue: std::array::from_fn(|_| BTreeMap::new()),
            running: BTreeMap::new(),
            computed: Vec::new(),
            oldest: Instant::now(),
            is_urgent: false,
            keeping: 0,
        }
    }

    /// Notes a stage that must run; among those that may begin the one of the lowest position is the first.
    pub(super) fn add(&mut self, id: StageId, needs: T, cost: Cost, position: usize) {
        self.queue[cost as usize].insert(position, (id, needs));
    }

    /// A stage that may begin, from now on under way.
    pub(super) fn begin(&mut self) -> Option<(StageId, T)> {
        if self.free_jobs() == 0 {
            return None;
        }
        let free = self.free_cores();
        let fits = COSTS.into_iter().filter(|cost| self.cores(*cost) <= free);
        let first =
            fits.filter_map(|cost| self.queue[cost as usize].first_key_value().map(|(at, _)| (*at, cost)));
        let (_, cost) = first.min_by_key(|(position, _)| *position)?;
        let (_, (id, needs)) = self.queue[cost as usize].pop_first().expect("just found");
        self.running.insert(id, (cost, Instant::now()));
        Some((id, needs))
    }

    /// How many stages may begin.
    pub(super) fn may_begin(&self) -> usize {
        let free = self.free_cores();
        let [waiting, one_core, all_cores] = self.queue.each_ref().map(BTreeMap::len);
        let alone = usize::from(all_cores > 0 && free == self.limits.threads);
        (waiting + one_core.min(free).max(alone)).min(self.free_jobs())
    }

    /// How long a stage has been under way.
    pub(super) fn time(&self, id: StageId) -> Duration {
        self.running[&id].1.elapsed()
    }

    /// A stage is no longer under way.
    pub(super) fn end(&mut self, id: StageId) {
        self.running.remove(&id).expect("only running stages end");
    }

    /// A stage is no longer under way, and its result is to be kept.
    pub(super) fn end_with(&mut self, id: StageId, result: R) {
        if self.computed.is_empty() {
            self.oldest = Instant::now();
        }
        self.is_urgent |= self.time(id) > DEAR;
        self.end(id);
        self.computed.push((id, result));
    }

    /// Whether there are results that are to be kept now. If they may, they wait for others to be kept with while there is more
    /// to begin.
    pub(super) fn is_keeping_due(&self, may_wait: bool) -> bool {
        let is_worth_it =
            || !self.is_urgent && self.computed.len() < TOGETHER && self.oldest.elapsed() < PATIENCE;
        let waits = may_wait && self.is_more_to_begin() && is_worth_it();
        !self.computed.is_empty() && self.keeping == 0 && !waits
    }

    /// Results that are to be kept now.
    pub(super) fn begin_keeping(&mut self, may_wait: bool) -> Option<Vec<(StageId, R)>> {
        if !self.is_keeping_due(may_wait) {
            return None;
        }
        self.keeping = self.computed.len();
        self.is_urgent = false;
        Some(std::mem::take(&mut self.computed))
    }

    /// What was being kept is.
    pub(super) fn end_keeping(&mut self) {
        self.keeping = 0;
    }

    /// How long what waits to be kept may wait at most, if the disk is free for it.
    pub(super) fn patience(&self) -> Option<Duration> {
        let may_begin = !self.computed.is_empty() && self.keeping == 0;
        may_begin.then(|| PATIENCE.saturating_sub(self.oldest.elapsed()))
    }

    /// Whether nothing is under way and nothing waits, other than what must not begin because of a request to stop.
    pub(super) fn is_at_rest(&self, is_stopped: bool) -> bool {
        let may_begin = !is_stopped && self.is_more_to_begin();
        self.running.is_empty() && self.computed.is_empty() && self.keeping == 0 && !may_begin
    }

    /// Takes out whatever has not begun.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = StageId> + use<T, R> {
        std::mem::take(&mut self.queue).into_iter().flat_map(BTreeMap::into_values).map(|(id, _)| id)
    }

    fn is_more_to_begin(&self) -> bool {
        self.queue.iter().any(|queue| !queue.is_empty())
    }

    fn free_jobs(&self) -> usize {
        let has_room = self.computed.len() + self.keeping < KEEPING;
        if has_room { self.limits.jobs - self.running.len() } else { 0 }
    }

    fn free_cores(&self) -> usize {
        self.limits.threads - self.running.values().map(|(cost, _)| self.cores(*cost)).sum::<usize>()
    }

    fn cores(&self, cost: Cost) -> usize {
        match cost {
            Cost::Waiting => 0,
            Cost::OneCore => 1,
            Cost::AllCores => self.limits.threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agenda(jobs: usize, threads: usize, costs: &[Cost]) -> Agenda<(), ()> {
        let mut agenda = Agenda::new(Limits { jobs, threads });
        for (position, cost) in costs.iter().enumerate() {
            agenda.add(StageId(position), (), *cost, position);
        }
        agenda
    }

    fn begun(agenda: &mut Agenda<(), ()>) -> Vec<usize> {
        std::iter::from_fn(|| agenda.begin().map(|(id, ())| id.0)).collect()
    }

    #[test]
    fn what_fits_begins_in_order() {
        let mut agenda =
            agenda(9, 2, &[Cost::OneCore, Cost::AllCores, Cost::OneCore, Cost::Waiting, Cost::OneCore]);
        assert_eq!(agenda.may_begin(), 3);
        assert_eq!(begun(&mut agenda), [0, 2, 3]);
        assert_eq!(agenda.may_begin(), 0);
        agenda.end(StageId(0));
        assert_eq!(begun(&mut agenda), [4], "one core is free, not all");
        agenda.end(StageId(2));
        agenda.end(StageId(4));
        assert_eq!(agenda.may_begin(), 1);
        assert_eq!(begun(&mut agenda), [1], "whatever only waits needs none");
    }

    #[test]
    fn no_more_stages_begin_than_there_may_be_at_the_same_time() {
        let mut agenda = agenda(2, 8, &[Cost::OneCore, Cost::Waiting, Cost::Waiting]);
        assert_eq!(begun(&mut agenda), [0, 1]);
        agenda.end(StageId(0));
        assert_eq!(begun(&mut agenda), [2]);
    }

    #[test]
    fn results_wait_for_others_only_while_there_is_more_to_begin() {
        let mut agenda = agenda(1, 1, &[Cost::OneCore, Cost::OneCore]);
        begun(&mut agenda);
        agenda.end_with(StageId(0), ());
        assert!(!agenda.is_keeping_due(true) && agenda.patience().is_some());
        begun(&mut agenda);
        assert_eq!(agenda.begin_keeping(true).expect("nothing waits").len(), 1);
        agenda.end_with(StageId(1), ());
        assert!(!agenda.is_keeping_due(true) && agenda.patience().is_none(), "one batch at a time");
        agenda.end_keeping();
        assert!(!agenda.is_at_rest(false));
        assert_eq!(agenda.begin_keeping(true).expect("the disk is free").len(), 1);
        agenda.end_keeping();
        assert!(agenda.is_at_rest(false));
    }

    #[test]
    fn enough_results_are_kept_at_once_and_so_is_one_that_has_waited_or_took_long() {
        let mut agenda = agenda(1, 1, &[Cost::OneCore; TOGETHER + 3]);
        let end = |agenda: &mut Agenda<(), ()>, time: Duration| {
            let (id, ()) = agenda.begin().expect("more to do");
            agenda.running.get_mut(&id).expect("begun").1 -= time;
            agenda.end_with(id, ());
        };
        for _ in 0..TOGETHER {
            assert!(!agenda.is_keeping_due(true));
            end(&mut agenda, Duration::ZERO);
        }
        assert_eq!(agenda.begin_keeping(true).expect("enough").len(), TOGETHER);
        agenda.end_keeping();
        end(&mut agenda, Duration::ZERO);
        assert!(!agenda.is_keeping_due(true) && agenda.is_keeping_due(false), "nothing more is to begin");
        agenda.oldest -= PATIENCE;
        assert_eq!(agenda.begin_keeping(true).expect("it has waited").len(), 1);
        agenda.end_keeping();
        end(&mut agenda, DEAR);
        assert_eq!(agenda.begin_keeping(true).expect("it took long").len(), 1);
    }
}
