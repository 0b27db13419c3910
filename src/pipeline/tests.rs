//! Claims about whole pipeline files: what they mean, and that nothing can hurt the reader. What is said about
//! mistakes is in `problems`, `hiding`, `texts` and `extending`.

mod extending;
mod hiding;
mod problems;
mod texts;

use std::fs;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::test_catalogue::FewKinds;
use super::{Pipeline, Problems, Setting, read};

/// A folder with pipeline files, of which `p.yaml` is read.
struct Files(TempDir);

impl Files {
    fn of(text: &str) -> Files {
        Files(tempfile::tempdir().unwrap()).with("p.yaml", text)
    }

    fn with(self, name: &str, text: impl AsRef<[u8]>) -> Files {
        fs::write(self.0.path().join(name), text).unwrap();
        self
    }

    fn read(&self, settings: &[&str]) -> Result<Pipeline<String>, Problems> {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        read(&self.0.path().join("p.yaml"), &settings, &FewKinds).finish()
    }

    /// All problems, with the folder's name left out.
    fn problems(&self, settings: &[&str]) -> String {
        let folder = format!("{}/", self.0.path().display());
        self.read(settings).unwrap_err().to_string().replace(&folder, "")
    }

    fn place(&self, settings: &[&str], stage: &str, path: &[&str]) -> String {
        let pipeline = self.read(settings).unwrap();
        let stage = &pipeline.stage(pipeline.id(stage).unwrap()).name;
        let folder = format!("{}/", self.0.path().display());
        pipeline.place(stage, path).map_or("nowhere".into(), |place| place.to_string().replace(&folder, ""))
    }
}

fn problems(text: &str) -> String {
    Files::of(text).problems(&[])
}

const SMALL: &str = "\
about: a small one
vars: { url: 'http://x/y', n: 3 }
stages:
  archive: { uses: download, with: { url: '${vars.url}', retries: '${vars.n}' } }
  images: { uses: split, in: { archive: archive }, with: { parts: [train, val] } }
  train:
    uses: train
    in: { train: images.train, val: images.val }
    with:
      epochs: 5
";

#[test]
fn a_pipeline_is_read_with_its_defaults_variables_and_ports() {
    let pipeline = Files::of(SMALL).read(&[]).unwrap();
    assert_eq!((pipeline.name.as_str(), pipeline.about.as_str()), ("p", "a small one"));
    let names: Vec<_> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["archive", "images", "train"]);
    assert_eq!(pipeline.stages[0].stage, "http://x/y 3");
    assert_eq!(pipeline.stages[0].params, json!({ "url": "http://x/y", "retries": 3 }));
    let inputs = &pipeline.stages[1].inputs;
    assert_eq!((inputs["archive"].stage.as_str(), inputs["archive"].port.as_str()), ("archive", "file"));
    assert_eq!(pipeline.stages[2].inputs["val"].port, "val");
}

#[test]
fn a_file_extends_another_and_settings_go_over_both() {
    let files = Files::of(
        "extends: sub.yaml\nabout: null\nvars: { url: other }\nstages: { train: { with: { lr: 0.1 } } }",
    )
    .with("sub.yaml", "extends: base.yaml\nstages: { train: { with: { epochs: 7 } } }")
    .with("base.yaml", SMALL);
    let pipeline = files.read(&["train.lr=0.2", "vars.n=9"]).unwrap();
    assert_eq!(pipeline.about, "");
    assert_eq!(pipeline.stages[0].stage, "other 9");
    assert_eq!(pipeline.stages[2].stage, "epochs 7 lr 0.2");
}

#[test]
fn places_point_into_the_file_or_setting_that_gave_the_value() {
    let files =
        Files::of("extends: base.yaml\nstages:\n  train: { with: { lr: 0.1 } }").with("base.yaml", SMALL);
    assert_eq!(files.place(&[], "train", &["lr"]), "p.yaml:3:20");
    assert_eq!(files.place(&[], "train", &["epochs"]), "base.yaml:10:7");
    assert_eq!(files.place(&[], "images", &["parts", "1"]), "base.yaml:5:75");
    assert_eq!(files.place(&[], "train", &["momentum"]), "nowhere");
    assert_eq!(files.place(&["train.epochs=6"], "train", &["epochs"]), "--set train.epochs=6");
}

#[test]
fn a_value_that_a_setting_changed_inside_stands_at_the_last_such_setting() {
    let files = Files::of(SMALL);
    assert_eq!(files.place(&["images.parts.1=val"], "images", &["parts"]), "--set images.parts.1=val");
    assert_eq!(files.place(&["images.parts.1=val"], "images", &["parts", "0"]), "p.yaml:5:68");
    let settings = ["images.parts=[train, b]", "images.parts.1=val", "train.epochs=6"];
    assert_eq!(files.place(&settings, "images", &["parts"]), "--set images.parts.1=val");
    assert_eq!(files.place(&settings, "images", &["parts", "0"]), "--set images.parts=[train, b]");
    let files = Files::of(&SMALL.replace("n: 3", "n: 3, p: [a, b]").replace("[train, val]", "'${vars.p}'"));
    let settings = ["vars.p=[train, x]", "vars.p.1=val"];
    assert_eq!(files.place(&settings, "images", &["parts"]), "--set vars.p.1=val");
}

#[test]
fn a_value_from_a_variable_stands_where_the_variable_does() {
    let files = Files::of(SMALL);
    assert_eq!(files.place(&[], "archive", &["retries"]), "p.yaml:2:28");
    assert_eq!(files.place(&["vars.n=4"], "archive", &["retries"]), "--set vars.n=4");
    let text = "\
vars: { a: '${vars.b}', b: [x, y] }
stages:
  s: { uses: split, in: { archive: t }, with: { parts: '${vars.a}' } }
  t: { uses: download, with: { url: x } }
";
    assert_eq!(Files::of(text).place(&[], "s", &["parts", "1"]), "p.yaml:1:32");
}

#[test]
fn an_escaped_reference_stays_a_text() {
    let text = "vars: { n: 2 }\nstages: { a: { uses: command, with: { run: 'x$${HOME} $$ ${vars.n}%' } } }";
    assert_eq!(Files::of(text).read(&[]).unwrap().stages[0].stage, "x${HOME} $$ 2%");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_fine() {
    let text = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    assert_eq!(Files::of(&text).place(&[], "train", &["epochs"]), "p.yaml:10:7");
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,200}") {
        let _ = Files::of(&text).read(&[]);
    }

    #[test]
    fn no_mangled_pipeline_makes_reading_panic(cuts in proptest::collection::vec((0..SMALL.len(), 0..SMALL.len()), 1..6)) {
        let mut text = SMALL.to_owned();
        for (from, to) in cuts {
            let (from, to) = (from.min(text.len()), to.min(text.len()));
            let piece = text[from.min(to)..from.max(to)].to_owned();
            text.insert_str(to, &piece[..piece.len().min(40)]);
            text.replace_range(from.min(10)..from.min(12), "");
        }
        let _ = Files::of(&text).read(&["train.epochs=6"]);
    }
}
