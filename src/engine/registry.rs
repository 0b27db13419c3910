//! The stage kinds of a program, as the language and the planner look them up.

use serde_json::Value;

use super::stage::{Stage, StageKind};
use crate::pipeline::{Catalogue, Ports, Refusal};

/// The stage kinds that pipelines may use.
#[derive(Clone)]
pub struct Registry {
    kinds: Vec<&'static StageKind>,
}

impl Registry {
    /// A registry of these kinds, listed in this order in help.
    #[must_use]
    pub fn new(kinds: &[&'static StageKind]) -> Registry {
        Registry { kinds: kinds.to_vec() }
    }

    /// The kind of that name.
    ///
    /// # Panics
    /// If there is none; a checked pipeline names only kinds that exist.
    #[must_use]
    pub fn kind(&self, name: &str) -> &'static StageKind {
        self.kinds
            .iter()
            .find(|kind| kind.name == name)
            .expect("the pipeline was checked against this registry")
    }

    /// All kinds, in order.
    #[must_use]
    pub fn all(&self) -> &[&'static StageKind] {
        &self.kinds
    }
}

impl Catalogue for Registry {
    type Stage = Box<dyn Stage>;

    fn kinds(&self) -> Vec<&'static str> {
        self.kinds.iter().map(|kind| kind.name).collect()
    }

    fn read(&self, kind: &str, params: &Value) -> Result<(Box<dyn Stage>, Ports), Refusal> {
        let stage = (self.kind(kind).read)(params)?;
        let ports = stage.ports();
        Ok((stage, ports))
    }
}
