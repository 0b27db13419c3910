//! Draws a pipeline: as text for people, and for Graphviz and Mermaid. It computes nothing.

use std::fmt::Write;

use super::order::Graph;
use crate::pipeline::{Pipeline, StageDecl};

/// The stages in the order in which they run, each with its kind and where its inputs come from.
#[must_use]
pub fn text<S>(pipeline: &Pipeline<S>, graph: &Graph) -> String {
    let stages = graph.order().iter().map(|&id| pipeline.stage(id));
    let widest = stages.clone().map(|stage| stage.name.as_str().len()).max().unwrap_or_default();
    let widest_kind = stages.clone().map(|stage| stage.kind.len()).max().unwrap_or_default();
    let mut out = String::new();
    for StageDecl { name, kind, inputs, .. } in stages {
        let inputs =
            inputs.iter().map(|(port, source)| format!("{port} <- {}.{}", source.stage, source.port));
        let line = format!("{name:widest$}  {kind:widest_kind$}  {}", inputs.collect::<Vec<_>>().join(", "));
        out += line.trim_end();
        out += "\n";
    }
    out
}

/// The graph in Graphviz's language.
#[must_use]
pub fn dot<S>(pipeline: &Pipeline<S>, graph: &Graph) -> String {
    let mut out = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n", dot_text(&pipeline.name));
    for &id in graph.order() {
        let StageDecl { name, kind, .. } = pipeline.stage(id);
        let label = dot_text(&format!("{name}\n{kind}"));
        out += &format!("  {} [label={label}];\n", dot_text(name.as_str()));
    }
    edges(pipeline, graph, |from, to, label| {
        out += &format!("  {} -> {} [label={}];\n", dot_text(from), dot_text(to), dot_text(label));
    });
    out + "}\n"
}

/// The graph in Mermaid's language.
#[must_use]
pub fn mermaid<S>(pipeline: &Pipeline<S>, graph: &Graph) -> String {
    let mut out = String::from("flowchart LR\n");
    // Mermaid reserves words such as `end`, so that nodes are numbered.
    for &id in graph.order() {
        let StageDecl { name, kind, .. } = pipeline.stage(id);
        out += &format!("  s{}[\"{}<br>{}\"]\n", id.0, mermaid_text(name.as_str()), mermaid_text(kind));
    }
    let number = |name: &str| pipeline.id(name).map_or(0, |id| id.0);
    edges(pipeline, graph, |from, to, label| {
        out += &format!("  s{} -->|\"{}\"| s{}\n", number(from), mermaid_text(label), number(to));
    });
    out
}

/// Visits each connection with the names of its two stages and its label.
fn edges<S>(pipeline: &Pipeline<S>, graph: &Graph, mut visit: impl FnMut(&str, &str, &str)) {
    for &id in graph.order() {
        let StageDecl { name, inputs, .. } = pipeline.stage(id);
        for (port, source) in inputs {
            let mut label = source.port.clone();
            if *port != label {
                let _ = write!(label, " > {port}");
            }
            visit(source.stage.as_str(), name.as_str(), &label);
        }
    }
}

fn dot_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn mermaid_text(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#34;").replace('<', "#60;").replace('>', "#62;")
}
