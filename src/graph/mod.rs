//! Knows which stage needs which: an order in which all can run, what lies before and behind a stage, cycles,
//! and pictures of it. It keeps petgraph to itself and does not know what a stage is.

mod export;
mod order;

use std::path::Path;

pub use export::{dot, mermaid, text};
pub use order::Graph;

use crate::pipeline::{self, Catalogue, Draft, Pipeline, Problems, Setting};

/// Reads a pipeline file, checks it whole, and puts its stages in order. `more` reports what else is wrong with it, and
/// gets the order unless there are cycles.
///
/// # Errors
/// Everything that is wrong with the pipeline, cycles included.
pub fn load<C: Catalogue>(
    path: &Path,
    settings: &[Setting],
    catalogue: &C,
    more: impl FnOnce(&mut Draft<C::Stage>, Option<&Graph>),
) -> Result<(Pipeline<C::Stage>, Graph), Problems> {
    let mut draft = pipeline::read(path, settings, catalogue);
    let graph = match Graph::new(draft.stage_count(), draft.links()) {
        Ok(graph) => Some(graph),
        Err(cycles) => {
            cycles.iter().for_each(|cycle| draft.reject_cycle(cycle));
            None
        }
    };
    more(&mut draft, graph.as_ref());
    match graph {
        Some(graph) => Ok((draft.finish()?, graph)),
        None => Err(draft.into_problems()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::pipeline::test_catalogue::FewKinds;

    const TANGLED: &str = "\
stages:
  a: { uses: command, with: { run: x }, in: { from: c } }
  b: { uses: command, with: { run: x }, in: { from: a, also: a } }
  c:
    uses: command
    in: { from: b.out }
    with: { runn: x }
  d: { uses: command, with: { run: x }, in: { e: e } }
  e: { uses: command, with: { run: x }, in: { d: d } }
";

    const SMALL: &str = "\
stages:
  train: { uses: train, in: { train: images.train, val: images.val } }
  archive: { uses: download, with: { url: x } }
  images: { uses: split, in: { archive: archive }, with: { parts: [train, val] } }
";

    fn load(text: &str) -> Result<(Pipeline<String>, Graph), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.yaml");
        fs::write(&path, text).unwrap();
        let shorten = |problems: Problems| problems.to_string().replace(path.to_str().unwrap(), "p.yaml");
        super::load(&path, &[], &FewKinds, |_, _| {}).map_err(shorten)
    }

    #[test]
    fn cycles_are_told_together_with_all_other_problems() {
        insta::assert_snapshot!(load(TANGLED).unwrap_err(), @r"
        error: the stages form a cycle: a -> b -> c -> a
         --> p.yaml:3:53
          |
        3 |   b: { uses: command, with: { run: x }, in: { from: a, also: a } }
          |                                                     ^
          = `c` reads `b` at p.yaml:6:11
          = `a` reads `c` at p.yaml:2:47

        error: parameter `run` is missing
         --> p.yaml:7:5
          |
        7 |     with: { runn: x }
          |     ^^^^

        error: unknown parameter `runn`
         --> p.yaml:7:13
          |
        7 |     with: { runn: x }
          |             ^^^^
          = did you mean `run`?

        error: the stages form a cycle: d -> e -> d
         --> p.yaml:9:50
          |
        9 |   e: { uses: command, with: { run: x }, in: { d: d } }
          |                                                  ^
          = `d` reads `e` at p.yaml:8:47
        ");
    }

    #[test]
    fn the_text_lists_stages_in_the_order_of_their_needs() {
        let (pipeline, graph) = load(SMALL).unwrap();
        insta::assert_snapshot!(text(&pipeline, &graph), @r"
        archive  download
        images   split     archive <- archive.file
        train    train     train <- images.train, val <- images.val
        ");
    }

    #[test]
    fn pictures_show_every_stage_and_every_port() {
        let (pipeline, graph) = load(SMALL).unwrap();
        insta::assert_snapshot!(dot(&pipeline, &graph), @r#"
        digraph "p" {
          rankdir=LR;
          node [shape=box];
          "archive" [label="archive\ndownload"];
          "images" [label="images\nsplit"];
          "train" [label="train\ntrain"];
          "archive" -> "images" [label="file > archive"];
          "images" -> "train" [label="train"];
          "images" -> "train" [label="val"];
        }
        "#);
        insta::assert_snapshot!(mermaid(&pipeline, &graph), @r#"
        flowchart LR
          s1["archive<br>download"]
          s2["images<br>split"]
          s0["train<br>train"]
          s1 -->|"file #62; archive"| s2
          s2 -->|"train"| s0
          s2 -->|"val"| s0
        "#);
    }
}
