//! The run loop: looks up every stage whose inputs are known, has a crew compute those that must run and keep what they
//! make, and notes what came of each. What is to be done, the planner decides.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use super::agenda::Agenda;
use super::crew::{Crew, Message};
use super::event::{Detail, Event, Observer, StageEvent};
use super::keep::Impatient;
use super::key::KeyParts;
use super::logbook;
use super::planner::{Decision, Planner, Verdict};
use super::reason::Reason;
use super::state::{Signal, State};
use super::worker::{Ending, Worker, kept_for_a_look};
use super::{Checkout, Experiment, Limits, Stop};
use crate::pipeline::{StageId, StageName};
use crate::store::{self, Digest, Folders, Living, Record, with_remedy};

/// What happens to the rest of a run after a stage has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// What runs is finished, nothing new is started.
    Stop,
    /// Whatever does not depend on the failure is finished.
    KeepGoing,
}

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How each stage ended, inputs before their users.
    pub stages: Vec<(StageName, State)>,
    /// The results there are now, inputs before their users.
    pub results: Vec<(StageName, Arc<Record>)>,
    /// How long the run took.
    pub seconds: f64,
    /// Whether a request to stop kept it from going through all stages.
    pub interrupted: bool,
}

impl Summary {
    /// The stages that ended in a state.
    pub fn ended(&self, state: State) -> impl Iterator<Item = &StageName> {
        self.stages.iter().filter(move |(_, s)| *s == state).map(|(name, _)| name)
    }
}

/// Runs the selected stages of the planner's pipeline.
///
/// # Errors
/// If the store's log of runs cannot be written; what stages made is kept all the same. The failure of a
/// stage is no error of the run: the summary tells it.
pub fn run(
    planner: &Planner<'_>,
    selection: &BTreeSet<StageId>,
    limits: Limits,
    on_failure: OnFailure,
    checkout: &Checkout,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<Summary, store::Error> {
    let started = Instant::now();
    let experiment = planner.experiment;
    let count = experiment.pipeline.stages.len();
    let living = planner.store.enter(&experiment.pipeline.name);
    let folders = planner.store.folders();
    let impatient = Impatient::default();
    let crew = Crew::new(limits, &impatient, planner.store, stop);
    let mut run = Run {
        crew: &crew,
        impatient: &impatient,
        planner,
        living: &living,
        folders: &folders,
        selection,
        on_failure,
        checkout,
        observer,
        stop,
        states: vec![State::Unknown; count],
        keys: vec![None; count],
        results: vec![None; count],
        missing: vec![0; count],
        ending: false,
        interrupted: false,
        warned_of_links: false,
        position: vec![0; count],
    };
    run.go();
    if run.results.iter().all(Option::is_some) {
        checkout.forget_others(|name| experiment.pipeline.id(name).is_some(), planner.store);
    }
    let name = |id: StageId| experiment.pipeline.stage(id).name.clone();
    let order = || experiment.graph.order().iter().filter(|id| selection.contains(id));
    let results = order().filter_map(|id| Some((name(*id), run.results[id.0].clone()?)));
    let summary = Summary {
        stages: order().map(|id| (name(*id), run.states[id.0])).collect(),
        results: results.collect(),
        seconds: started.elapsed().as_secs_f64(),
        interrupted: run.interrupted,
    };
    let ends = selection.iter().map(|id| (*id, run.states[id.0], run.results[id.0].as_deref()));
    logbook::enter(planner, ends, summary.seconds)?;
    Ok(summary)
}

struct Run<'c, 'a> {
    crew: &'c Crew<'a>,
    impatient: &'a Impatient,
    planner: &'a Planner<'a>,
    /// Keeps what this run needs from being collected.
    living: &'a Living,
    folders: &'a Folders,
    selection: &'a BTreeSet<StageId>,
    on_failure: OnFailure,
    checkout: &'a Checkout,
    observer: &'a dyn Observer,
    stop: &'a Stop,
    states: Vec<State>,
    keys: Vec<Option<Digest>>,
    results: Vec<Option<Arc<Record>>>,
    /// Per stage, the number of stages before it whose results are not known yet.
    missing: Vec<usize>,
    /// Per stage, its position in topological order.
    position: Vec<usize>,
    /// After a failure that ends the run: what runs is finished and results are looked up, nothing is started.
    ending: bool,
    /// A stage was stopped, or not begun, because of a request to stop.
    interrupted: bool,
    /// One warning about the data folder is enough.
    warned_of_links: bool,
}

impl<'a> Run<'_, 'a> {
    fn go(&mut self) {
        let graph = &self.planner.experiment.graph;
        let mut roots = Vec::new();
        for (position, id) in graph.order().iter().enumerate().filter(|(_, id)| self.selection.contains(id)) {
            self.position[id.0] = position;
            self.missing[id.0] = graph.needs(*id).len();
            if self.missing[id.0] == 0 {
                roots.push(*id);
            }
        }
        self.look_up(roots);
        let crew = self.crew;
        std::thread::scope(|scope| {
            let _dismissal = crew.dismissed_at_the_end();
            let (sender, receiver) = channel();
            while crew.go_on(scope, &sender) {
                self.take(receiver.recv().expect("the loop holds a sender"));
            }
        });
        self.end_the_rest();
    }

    /// Looks up stages whose inputs are known, and those that become known by it.
    fn look_up(&mut self, mut known: Vec<StageId>) {
        if known.is_empty() {
            return;
        }
        let look = self.living.look();
        while !known.is_empty() {
            for id in &known {
                self.states[id.0] = self.states[id.0].after(Signal::InputsKnown);
            }
            let decisions = self.planner.decide_all(&known, &self.results);
            known.clear();
            for (_, decision) in &decisions {
                look.pin(decision.key.as_ref());
            }
            for (id, Decision { key, parts, verdict, outlook }) in decisions {
                if self.stop.is_requested() {
                    return;
                }
                self.keys[id.0] = key;
                match (verdict, parts) {
                    (Verdict::Reuse(record), _) => known.extend(self.settle(id, Signal::Hit, record, 0.0)),
                    (Verdict::Run(_), Some(_)) if self.ending => {
                        self.change(id, Signal::GivenUp, 0.0, Detail::None);
                    }
                    (Verdict::Run(reasons), Some(parts)) => {
                        self.change(id, Signal::Miss, 0.0, Detail::ToRun(reasons, outlook));
                        let cost = self.planner.experiment.pipeline.stage(id).stage.cost();
                        let worker = self.worker(id, parts);
                        self.crew.agenda(|agenda| agenda.add(id, worker, cost, self.position[id.0]));
                    }
                    (Verdict::Run(reasons), None) => {
                        let failure = self.could_not_begin(id, &reasons);
                        known.extend(self.end(id, failure, 0.0));
                    }
                }
            }
        }
    }

    /// The failure of a stage that has no key, because it reads what cannot be read; it leaves its reasons.
    fn could_not_begin(&self, id: StageId, reasons: &[Reason]) -> Ending {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let Experiment { pipeline, .. } = self.planner.experiment;
        let aside = self.planner.store.aside(&pipeline.name, pipeline.stage(id).name.as_str());
        // Whether that can be kept or not, the failure is what is to be told.
        let _ = aside.clear().and_then(|()| aside.end_log(&reasons.join("; ")));
        Ending::Failed(kept_for_a_look(&reasons.join("; "), &aside))
    }

    /// Notes a stage's result and returns the stages whose inputs are all known now.
    fn settle(&mut self, id: StageId, signal: Signal, record: Arc<Record>, seconds: f64) -> Vec<StageId> {
        let experiment = self.planner.experiment;
        let decl = experiment.pipeline.stage(id);
        self.change(id, signal, seconds, Detail::Metrics(record.metrics.clone()));
        let linked = self.checkout.link(decl.name.as_str(), &decl.ports.outputs, &record, self.planner.store);
        if let (Err(error), false) = (linked, self.warned_of_links) {
            self.warned_of_links = true;
            let why = with_remedy(&error);
            let text = format!("the results of {} are not linked in the data folder: {why}", decl.name);
            self.observer.observe(&Event::Warning(text));
        }
        self.results[id.0] = Some(record);
        let mut known = Vec::new();
        for next in experiment.graph.readers(id).into_iter().filter(|next| self.selection.contains(next)) {
            self.missing[next.0] -= 1;
            if self.missing[next.0] == 0 && self.states[next.0] == State::Unknown {
                known.push(next);
            }
        }
        known
    }

    fn worker(&self, id: StageId, parts: KeyParts) -> Worker<'a> {
        let experiment = self.planner.experiment;
        let inputs = experiment.pipeline.stage(id).inputs.iter().map(|(port, source)| {
            let record = self.results[source.id.0].as_ref().expect("the inputs are known");
            (port.clone(), record.outputs[&source.port].clone())
        });
        Worker {
            planner: self.planner,
            folders: self.folders,
            observer: self.observer,
            stop: self.stop,
            impatient: self.impatient,
            id,
            state: self.states[id.0],
            key: self.keys[id.0].expect("what is to run has its inputs, so its key is known"),
            parts,
            inputs: inputs.collect(),
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Over(id, state, ending) => {
                self.states[id.0] = state;
                let seconds = self.crew.agenda(|agenda| agenda.time(id)).as_secs_f64();
                let known = self.end(id, ending, seconds);
                // Not before: after a failure perhaps nothing is to begin any more.
                self.crew.agenda(|agenda| agenda.end(id));
                self.look_up(known);
            }
            Message::Kept(results) => {
                self.crew.agenda(Agenda::end_keeping);
                let known = results.into_iter().flat_map(|(id, seconds, ending)| {
                    self.states[id.0] = State::Running;
                    self.end(id, ending, seconds)
                });
                let known = known.collect();
                self.look_up(known);
            }
            Message::Stopped => {}
        }
    }

    /// Notes how a stage ended and returns the stages whose inputs are all known now.
    fn end(&mut self, id: StageId, ending: Ending, seconds: f64) -> Vec<StageId> {
        match ending {
            Ending::Made(record) => return self.settle(id, Signal::Published, record, seconds),
            Ending::Found(record) => return self.settle(id, Signal::Hit, record, seconds),
            Ending::Interrupted => {
                self.interrupted = true;
                self.change(id, Signal::Stopped, seconds, Detail::None);
            }
            Ending::Failed(message) => {
                self.change(id, Signal::Broke, seconds, Detail::Error(message));
                self.give_up_behind(id);
                if self.on_failure == OnFailure::Stop {
                    self.ending = true;
                    for id in self.crew.agenda(Agenda::give_up) {
                        self.change(id, Signal::GivenUp, 0.0, Detail::None);
                    }
                }
            }
        }
        Vec::new()
    }

    /// Gives up what depends on a stage. What was given up before takes with it all that depends on it, at once or when
    /// the run ends.
    fn give_up_behind(&mut self, id: StageId) {
        let experiment = self.planner.experiment;
        let because = Reason::Upstream(experiment.pipeline.stage(id).name.clone());
        let mut behind = experiment.graph.readers(id);
        while let Some(next) = behind.pop() {
            if self.selection.contains(&next) && self.states[next.0] == State::Unknown {
                self.change(next, Signal::GivenUp, 0.0, Detail::Because(because.clone()));
                behind.extend(experiment.graph.readers(next));
            }
        }
    }

    /// Nothing runs any more, so whatever is not over, after an interruption or a failure, will not come to be.
    fn end_the_rest(&mut self) {
        let is_stopped = self.stop.is_requested();
        for id in self.selection {
            if !self.states[id.0].is_final() {
                self.interrupted |= is_stopped;
                let detail = if is_stopped { Detail::NotBegun } else { Detail::None };
                self.change(*id, Signal::GivenUp, 0.0, detail);
            }
        }
    }

    fn change(&mut self, id: StageId, signal: Signal, seconds: f64, detail: Detail) {
        let state = self.states[id.0].after(signal);
        self.states[id.0] = state;
        let stage = self.planner.experiment.pipeline.stage(id).name.clone();
        let key = self.keys[id.0];
        self.observer.observe(&Event::Stage(StageEvent { stage, state, key, seconds, detail }));
    }
}
