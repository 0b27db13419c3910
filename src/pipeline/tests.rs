//! Claims about whole pipeline files: what they mean, and what is said about their mistakes.

use std::fs;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::double::FewKinds;
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
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
abuot: typo
vars: { url: http://x, a: '${vars.b}', b: '${vars.a}' }
stages:
  archive: { uses: downlod, with: { url: x } }
  2nd: { uses: download, with: { url: x } }
  images: { uses: split, in: { archive: archiv, extra: train.history }, with: { parts: train } }
  train:
    uses: train
    in: { train: data.trian, val: data }
    with: { epoch: 5, lr: fast }
    wiht: 1
  data: { uses: split, in: { archive: tuned.model }, with: { parts: [train, val] } }
  tuned: { uses: train, in: { train: data.train, val: data.val, modell: train.model, model: '${vars.urll}' } }
  twice: { uses: command, with: { run: '${vars.a}' }, in: { x: twice.out } }
  twice: { uses: command }
  empty:
";
    insta::assert_snapshot!(problems(text), @r#"
    error: unknown key `abuot`
     --> p.yaml:1:1
      |
    1 | abuot: typo
      | ^^^^^
      = did you mean `about`?

    error: variables refer to each other in a circle: a -> b -> a
     --> p.yaml:2:27
      |
    2 | vars: { url: http://x, a: '${vars.b}', b: '${vars.a}' }
      |                           ^^^^^^^^^^^

    error: there is no kind of stage `downlod`
     --> p.yaml:4:20
      |
    4 |   archive: { uses: downlod, with: { url: x } }
      |                    ^^^^^^^
      = did you mean `download`?

    error: "2nd" cannot name a stage
     --> p.yaml:5:3
      |
    5 |   2nd: { uses: download, with: { url: x } }
      |   ^^^
      = names are letters, digits, `_` and `-`, and start with a letter or `_`

    error: no stage is named `archiv`
     --> p.yaml:6:41
      |
    6 |   images: { uses: split, in: { archive: archiv, extra: train.history }, with: { parts: train } }
      |                                         ^^^^^^
      = did you mean `archive`?

    error: parts: expected a list, found the text "train"
     --> p.yaml:6:81
      |
    6 |   images: { uses: split, in: { archive: archiv, extra: train.history }, with: { parts: train } }
      |                                                                                 ^^^^^

    error: stage `data` has no output `trian`
     --> p.yaml:9:18
      |
    9 |     in: { train: data.trian, val: data }
      |                  ^^^^^^^^^^
      = did you mean `data.train`?

    error: stage `data` has several outputs
     --> p.yaml:9:35
      |
    9 |     in: { train: data.trian, val: data }
      |                                   ^^^^
      = write one of `data.train`, `data.val`

    error: unknown parameter `epoch`
      --> p.yaml:10:13
       |
    10 |     with: { epoch: 5, lr: fast }
       |             ^^^^^
       = did you mean `epochs`?

    error: lr: expected a number, found the text "fast"
      --> p.yaml:10:23
       |
    10 |     with: { epoch: 5, lr: fast }
       |                       ^^

    error: unknown key `wiht`
      --> p.yaml:11:5
       |
    11 |     wiht: 1
       |     ^^^^
       = did you mean `with`?

    error: no variable is named `urll`
      --> p.yaml:13:93
       |
    13 |  uses: train, in: { train: data.train, val: data.val, modell: train.model, model: '${vars.urll}' } }
       |                                                                                   ^^^^^^^^^^^^^^^
       = did you mean `url`?

    error: two stages are named `twice`
      --> p.yaml:15:3
       |
    15 |   twice: { uses: command }
       |   ^^^^^
       = the first one is on line 14

    error: a stage is a map with the key `uses`, and this is nothing
      --> p.yaml:16:8
       |
    16 |   empty:
       |        ^
    "#);
}

#[test]
fn a_setting_that_fits_nowhere_is_told_by_its_own_text() {
    let settings = ["trian.epochs=5", "vars.m=1", "images.parts.2=x", "train.epochs=many", "train.epoch=1"];
    insta::assert_snapshot!(Files::of(SMALL).problems(&settings), @r#"
    error: `2` is no position in a list of 2
     --> --set images.parts.2=x
      = positions count from 0 to 1

    error: unknown parameter `epoch`
     --> --set train.epoch=1
      = did you mean `epochs`?

    error: epochs: expected a whole number from 0 to 4294967295, found the text "many"
     --> --set train.epochs=many

    error: no stage is named `trian`
     --> --set trian.epochs=5
      = did you mean `train`?

    error: no variable is named `m`
     --> --set vars.m=1
      = did you mean `n`?
    "#);
}

#[test]
fn a_text_that_is_no_yaml_is_told_with_its_place() {
    insta::assert_snapshot!(problems("stages:\n  a: { uses: x\n  b: 1\n"), @r"
    error: not YAML: while parsing a flow mapping, did not find expected ',' or '}'
     --> p.yaml:3:4
      |
    3 |   b: 1
      |    ^
    ");
    insta::assert_snapshot!(problems("stages:\n\ta: 1\n"), @r"
    error: not YAML: tabs disallowed within this context (block indentation)
     --> p.yaml:2:2
      |
    2 |  a: 1
      |  ^
      = YAML is indented with spaces; this line starts with a tab
    ");
    insta::assert_snapshot!(problems("a: *nothing\n"), @r"
    error: not YAML: while parsing node, found unknown anchor
     --> p.yaml:1:4
      |
    1 | a: *nothing
      |    ^
    ");
    insta::assert_snapshot!(problems("a: 1\n---\nb: 2\n"), @r"
    error: a second document starts here; a pipeline is one document
     --> p.yaml:2:1
      |
    2 | ---
      | ^^^
    ");
    insta::assert_snapshot!(problems("a: 'open\n"), @r"
    error: not YAML: while scanning a quoted scalar, found unexpected end of stream
     --> p.yaml:1:4
      |
    1 | a: 'open
      |    ^
    ");
}

#[test]
fn a_file_that_is_no_map_is_told_what_it_is() {
    insta::assert_snapshot!(problems(""), @r"
    error: the file is empty; a pipeline has at least `stages:`
     --> p.yaml
    ");
    insta::assert_snapshot!(problems("# only a comment\n"), @r"
    error: the file is empty; a pipeline has at least `stages:`
     --> p.yaml
    ");
    insta::assert_snapshot!(problems("- a\n- b\n"), @r"
    error: a pipeline is a map with the key `stages`, and this is a list
     --> p.yaml
    ");
    insta::assert_snapshot!(problems("name: x\n"), @r"
    error: there is no `stages:`
     --> p.yaml
    ");
    insta::assert_snapshot!(problems("stages: {}\n"), @r"
    error: a pipeline has at least one stage
     --> p.yaml:1:1
      |
    1 | stages: {}
      | ^^^^^^
    ");
}

#[test]
fn keys_tags_and_numbers_that_mean_nothing_are_refused() {
    let text = "1: x\ntrue: y\nname: !odd z\nstages:\n  a: { uses: train, with: { lr: .nan } }\n  b: &b\n    <<: {}\n";
    insta::assert_snapshot!(problems(text), @r"
    error: keys must be text; put quotes around this one
     --> p.yaml:1:1
      |
    1 | 1: x
      | ^

    error: unknown key `1`
     --> p.yaml:1:1
      |
    1 | 1: x
      | ^
      = known are `name`, `about`, `extends`, `vars`, `stages`

    error: keys must be text; put quotes around this one
     --> p.yaml:2:1
      |
    2 | true: y
      | ^^^^

    error: unknown key `true`
     --> p.yaml:2:1
      |
    2 | true: y
      | ^^^^
      = known are `name`, `about`, `extends`, `vars`, `stages`

    error: tags such as `!odd` mean nothing here
     --> p.yaml:3:1
      |
    3 | name: !odd z
      | ^^^^

    error: infinities and NaN are no values here
     --> p.yaml:5:29
      |
    5 |   a: { uses: train, with: { lr: .nan } }
      |                             ^^

    error: lr: expected a number, found nothing
     --> p.yaml:5:29
      |
    5 |   a: { uses: train, with: { lr: .nan } }
      |                             ^^

    error: stage `b` does not say what it `uses`
     --> p.yaml:6:3
      |
    6 |   b: &b
      |   ^
      = known are `download`, `split`, `train`, `command`

    error: unknown key `<<`
     --> p.yaml:7:5
      |
    7 |     <<: {}
      |     ^^
      = merge keys are not supported; use `extends` or `vars`
    ");
}

#[test]
fn files_that_cannot_be_read_are_told_from_where_they_are_named() {
    insta::assert_snapshot!(problems("extends: nothing.yaml\n"), @r"
    error: cannot read nothing.yaml: there is no such file
     --> p.yaml:1:10
      |
    1 | extends: nothing.yaml
      |          ^^^^^^^^^^^^
    ");
    insta::assert_snapshot!(problems("extends: [a, b]\n"), @r"
    error: `extends` is the name of a file, and this is a list
     --> p.yaml:1:10
      |
    1 | extends: [a, b]
      |          ^
    ");
    insta::assert_snapshot!(Files::of("extends: q.yaml\n").with("q.yaml", "extends: p.yaml\n").problems(&[]), @r"
    error: p.yaml extends itself through this
     --> p.yaml:1:10
      |
    1 | extends: q.yaml
      |          ^^^^^^
    ");
    insta::assert_snapshot!(Files::of("").with("p.yaml", b"name: x\nabout: \xff\n").problems(&[]), @r"
    error: cannot read p.yaml: line 2 is not UTF-8 text
     --> p.yaml
    ");
    let missing = read(std::path::Path::new("no/such.yaml"), &[], &FewKinds).into_problems();
    insta::assert_snapshot!(missing, @r"
    error: cannot read no/such.yaml: there is no such file
     --> no/such.yaml
    ");
}

#[test]
fn references_that_lead_nowhere_are_told_once() {
    let text = "\
vars: { list: [1, 2], deep: '${vars.list}' }
stages:
  a: { uses: train, with: { epochs: '${vars.lst}', lr: '${LR}' }, in: { train: '${vars.x' } }
  b: { uses: command, with: { run: 'echo ${vars.list} $${HOME} ${HOME}' } }
";
    insta::assert_snapshot!(problems(text), @r"
    error: no variable is named `lst`
     --> p.yaml:3:37
      |
    3 |   a: { uses: train, with: { epochs: '${vars.lst}', lr: '${LR}' }, in: { train: '${vars.x' } }
      |                                     ^^^^^^^^^^^^^
      = did you mean `list`?

    error: `${LR}` is no reference to a variable
     --> p.yaml:3:56
      |
    3 |   a: { uses: train, with: { epochs: '${vars.lst}', lr: '${LR}' }, in: { train: '${vars.x' } }
      |                                                        ^^^^^^^^
      = a variable is `${vars.NAME}`; a literal `${LR}` is written `$${LR}`

    error: `${` without a `}`
     --> p.yaml:3:80
      |
    3 |   a: { uses: train, with: { epochs: '${vars.lst}', lr: '${LR}' }, in: { train: '${vars.x' } }
      |                                                                                ^^^^^^^^^^^
      = a literal `${` is written `$${`

    error: `${vars.list}` is a list and does not fit inside a text
     --> p.yaml:4:36
      |
    4 |   b: { uses: command, with: { run: 'echo ${vars.list} $${HOME} ${HOME}' } }
      |                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
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

#[test]
fn bombs_are_refused_quickly() {
    let aliases = (1..30).fold(String::from("a0: &a0 [x, x]\n"), |text, n| {
        text + &format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1)
    });
    insta::assert_snapshot!(problems(&aliases), @r"
    error: aliases repeat too much
     --> p.yaml:1:1
      |
    1 | a0: &a0 [x, x]
      | ^
    ");
    let variables = (1..60).fold(String::from("  v0: xxxxxxxx\n"), |text, n| {
        text + &format!("  v{n}: '${{vars.v{0}}}${{vars.v{0}}}'\n", n - 1)
    });
    let bomb =
        format!("vars:\n{variables}stages: {{ a: {{ uses: command, with: {{ run: '${{vars.v59}}' }} }} }}\n");
    assert!(problems(&bomb).contains("variables expand to more than 64 MiB"));
    assert!(problems(&format!("a: {}", "[".repeat(10_000))).contains("recursion"));
    let chain = (1..5000).fold(String::new(), |text, n| text + &format!("  v{n}: '${{vars.v{}}}'\n", n + 1));
    let chain =
        format!("vars:\n{chain}stages: {{ a: {{ uses: command, with: {{ run: '${{vars.v1}}' }} }} }}\n");
    assert!(problems(&chain).contains("too deeply"));
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
