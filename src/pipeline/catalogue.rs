//! What the language must be told about stage kinds: their names, their ports and how to read their
//! parameters. It does not know what a stage does, nor which kinds exist.

use serde_json::Value;

/// The set of stage kinds a pipeline may use, as the language sees it.
pub trait Catalogue {
    /// What reading a stage's parameters yields; the language hands it on untouched.
    type Stage;

    /// The names of all kinds, in the order in which help should list them.
    fn kinds(&self) -> Vec<&'static str>;

    /// Reads the `with:` block of a stage of the given kind.
    ///
    /// # Errors
    /// Every complaint about the parameters, not only the first.
    ///
    /// # Panics
    /// If `kind` is none of [`Catalogue::kinds`].
    fn read(&self, kind: &str, params: &Value) -> Result<(Self::Stage, Ports), Refusal>;
}

/// Why parameters were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with them, whatever else may be given.
    pub complaints: Vec<Complaint>,
    /// What is wrong with them as long as nothing else is given: what is missing, and what does not go together.
    pub unless_more: Vec<Complaint>,
    /// The ports of the stage in spite of that.
    pub ports: KnownPorts,
}

/// Ports as far as they do not depend on parameters that are wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownPorts {
    /// What the stage reads, if that is known.
    pub inputs: Option<Inputs>,
    /// What the stage makes, if that is known.
    pub outputs: Option<Vec<OutputPort>>,
}

impl Refusal {
    /// Of parameters that would give these ports with stand-ins in place of what is wrong. What a parameter says of
    /// ports counts only if it is given, and right.
    pub(super) fn new(
        params: &Value,
        complaints: Vec<Complaint>,
        unless_more: Vec<Complaint>,
        ports: Option<Ports>,
    ) -> Refusal {
        let is_right = |param: &str| {
            let is_about_it =
                |complaint: &Complaint| complaint.path.first().is_some_and(|step| step == param);
            params.get(param).is_some() && !complaints.iter().chain(&unless_more).any(is_about_it)
        };
        let Some(Ports { mut inputs, outputs, named_by }) = ports else {
            return Refusal { complaints, unless_more, ports: KnownPorts::default() };
        };
        if let Inputs::Fixed(ports) = &mut inputs {
            for port in ports {
                port.at_least = port.at_least.filter(|least| is_right(least.param));
                port.least_side = None;
                if matches!(port.need, Need::Or(_)) {
                    port.need = Need::Optional;
                }
            }
        }
        let unsized_port = |port| OutputPort { samples: None, side: None, ..port };
        let outputs = named_by.is_none_or(is_right).then(|| outputs.into_iter().map(unsized_port).collect());
        Refusal { complaints, unless_more, ports: KnownPorts { inputs: Some(inputs), outputs } }
    }

    /// All that is wrong with the parameters as they stand.
    #[must_use]
    pub fn into_complaints(self) -> Vec<Complaint> {
        [self.complaints, self.unless_more].concat()
    }
}

impl KnownPorts {
    /// Those of a stage that may be given more parameters and inputs elsewhere.
    pub(super) fn of_part(ports: Ports) -> KnownPorts {
        // As if no parameter were given: then those that say something of ports do not count.
        Refusal::new(&Value::Null, vec![], vec![], Some(ports)).ports.without_needs()
    }

    /// The same where parameters are wrong, so that it is not known whether they name outputs.
    pub(super) fn in_part(self) -> KnownPorts {
        KnownPorts { outputs: None, ..self }.without_needs()
    }

    fn without_needs(mut self) -> KnownPorts {
        if let Some(Inputs::Fixed(ports)) = &mut self.inputs {
            for port in ports.iter_mut().filter(|port| port.need == Need::Required) {
                port.need = Need::Optional;
            }
        }
        self
    }
}

/// The input and output ports of one stage; outputs may depend on its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// What the stage reads.
    pub inputs: Inputs,
    /// What the stage makes. If there is only one, `in: { x: stage }` means it without naming the port.
    pub outputs: Vec<OutputPort>,
    /// The parameter that names the outputs, if one does.
    pub named_by: Option<&'static str>,
}

/// The input side of [`Ports`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// Exactly these ports.
    Fixed(Vec<InputPort>),
    /// Any number of ports, named by the pipeline, holding anything.
    Any,
}

/// One input port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPort {
    /// The name on the left side in `in:`.
    pub name: &'static str,
    /// What an artifact must be to fit.
    pub holds: Holds,
    /// Whether the pipeline must bind it.
    pub need: Need,
    /// How many samples a dataset must have to fit, and why.
    pub at_least: Option<AtLeast>,
    /// How many pixels each side of a dataset's images must have to fit.
    pub least_side: Option<u64>,
}

impl InputPort {
    /// A port for an artifact of any size.
    #[must_use]
    pub fn new(name: &'static str, holds: Holds, need: Need) -> InputPort {
        InputPort { name, holds, need, at_least: None, least_side: None }
    }
}

/// The fewest samples that a stage can work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtLeast {
    /// How many.
    pub samples: u64,
    /// The parameter that asks for so many.
    pub param: &'static str,
}

impl AtLeast {
    /// What is wrong if there are so many, and the remedy; `source` is how the pipeline calls the samples.
    #[must_use]
    pub fn too_few(self, there: u64, source: &str) -> Option<(String, String)> {
        let AtLeast { samples: wanted, param } = self;
        let message = || format!("{param} {wanted} is more than the {there} samples of `{source}`");
        let remedy = || format!("choose a {param} of at most {there}, or give `{source}` more samples");
        (there < wanted).then(|| (message(), remedy()))
    }
}

/// The shorter side of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// How many pixels.
    pub pixels: u64,
    /// The way to the parameter that says so.
    pub param: Vec<String>,
}

/// Whether an input port must be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Leaving it out is a mistake.
    Required,
    /// Leaving it out is fine.
    Optional,
    /// Leaving it out is a mistake, which this parameter would mend as well.
    Or(&'static str),
    /// Binding it is a mistake, because this parameter takes its place.
    ReplacedBy(&'static str),
}

/// One output port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPort {
    /// The name behind the dot in `stage.port`.
    pub name: String,
    /// What the artifact is.
    pub holds: Holds,
    /// The name under which a single file is checked out in `data/`; directories use the port's name.
    pub file_name: Option<String>,
    /// How many samples a dataset has, where the parameters say so.
    pub samples: Option<u64>,
    /// The shorter side of a dataset's images, where the parameters say so.
    pub side: Option<Side>,
}

impl OutputPort {
    /// A port whose artifact has no name of its own, and any size.
    #[must_use]
    pub fn new(name: impl Into<String>, holds: Holds) -> OutputPort {
        OutputPort { name: name.into(), holds, file_name: None, samples: None, side: None }
    }
}

/// What kind of artifact goes through a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// One file of any content.
    File,
    /// A directory of any content.
    Directory,
    /// A dataset directory: `dataset.json` and its shards.
    Dataset,
    /// A model directory: `model.json` and `model.safetensors`.
    Model,
}

impl Holds {
    /// The word used in messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Holds::File => "file",
            Holds::Directory => "directory",
            Holds::Dataset => "dataset",
            Holds::Model => "model",
        }
    }
}

/// Something wrong with one stage's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where inside `with:`, outermost first; list positions are written as decimal numbers.
    pub path: Vec<String>,
    /// What is wrong, in lower case and without the place.
    pub message: String,
    /// The remedy or the nearest valid name, if there is one.
    pub hint: Option<String>,
}
