//! Claims about pipelines that extend others: which file a mistake is told at, and what they do not take over.

use super::{Files, SMALL};

#[test]
fn a_file_that_cannot_be_extended_is_told_where_it_is_named() {
    let chain = |text: &str| Files::of("extends: a.yaml\n").with("a.yaml", text);
    insta::assert_snapshot!(chain("about: a\nextends: b.yaml\n").problems(&[]), @"
    error: cannot read b.yaml: there is no such file
     --> a.yaml:2:10
      |
    2 | extends: b.yaml
      |          ^^^^^^
      = the path counts from the folder of the file that it stands in
    ");
    insta::assert_snapshot!(chain("about: a\nextends: 7\n").problems(&[]), @"
    error: `extends` is the name of a file, and this is the number 7
     --> a.yaml:2:10
      |
    2 | extends: 7
      |          ^
    ");
    let circle = chain("extends: b.yaml\n").with("b.yaml", "about: b\nextends: a.yaml\n");
    insta::assert_snapshot!(circle.problems(&[]), @"
    error: a.yaml extends itself through this
     --> b.yaml:2:10
      |
    2 | extends: a.yaml
      |          ^^^^^^
    ");
}

#[test]
fn what_others_need_is_told_with_the_line_that_removes_it() {
    let files = Files::of("extends: a.yaml\nvars: { n: null }\n")
        .with("a.yaml", "extends: base.yaml\nstages:\n  images:\n")
        .with("base.yaml", SMALL);
    insta::assert_snapshot!(files.problems(&[]), @"
    error: `${vars.n}` is a variable that p.yaml:2:9 removes
     --> base.yaml:4:67
      |
    4 |   archive: { uses: download, with: { url: '${vars.url}', retries: '${vars.n}' } }
      |                                                                   ^^^^^^^^^^^^
      = keep `n`, or give what refers to it another value

    error: stage `train` reads `images`, which a.yaml:3:3 removes
     --> base.yaml:8:18
      |
    8 |     in: { train: images.train, val: images.val }
      |                  ^^^^^^^^^^^^
      = keep `images`, remove `train` as well, or let it read another stage

    error: stage `train` reads `images`, which a.yaml:3:3 removes
     --> base.yaml:8:37
      |
    8 |     in: { train: images.train, val: images.val }
      |                                     ^^^^^^^^^^
      = keep `images`, remove `train` as well, or let it read another stage
    ");
    let files = Files::of("extends: base.yaml\nstages: { imagse: null }\n")
        .with("base.yaml", SMALL.replace("images.val", "imagse.val"));
    insta::assert_snapshot!(files.problems(&[]), @"
    error: no stage is named `imagse`
     --> base.yaml:8:37
      |
    8 |     in: { train: images.train, val: imagse.val }
      |                                     ^^^^^^^^^^
      = did you mean `images`?
    ");
}

#[test]
fn a_pipeline_without_a_name_has_that_of_its_own_file() {
    let name = |text: &str| {
        let files = Files::of(text).with("base.yaml", format!("name: other\n{SMALL}"));
        files.read(&[]).expect("right").name
    };
    assert_eq!(name("extends: base.yaml\n"), "p");
    assert_eq!(name("extends: base.yaml\nname: null\n"), "p");
    assert_eq!(name("extends: base.yaml\nname: mine\n"), "mine");
}

#[test]
fn a_file_that_cannot_be_extended_hides_no_other_mistake() {
    let text = "\
extends: EXTENDS
abuot: typo
vars: { n: null }
stages:
  archive: { uses: download, with: { retries: many, url: '${vars.url}' } }
  other: { uses: downlod }
  images: { uses: split, with: { each: 5, prts: [a] } }
  gone: null
  train: { with: { lr: 1 }, in: { train: gone.x } }
  tune: { uses: train, in: { train: images.a, vall: other, model: late.model }, with: { lr: -1, batch: 7 } }
  late: { uses: train, in: { model: archive } }
  run: { uses: command, in: { x: elsewhere.y, z: tune.mdel } }
";
    let settings = ["archive.retries=x", "elsewhere.lr=1", "vars.m=1", "late.lr=fast", "late.list.0=1"];
    let told = |extends: &str| {
        let files = Files::of(&text.replace("EXTENDS", extends)).with("broken.yaml", "a: [");
        files.problems(&settings)
    };
    let problems = told("none.yaml");
    let messages: Vec<_> = problems.lines().filter(|line| line.starts_with("error: ")).collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    error: cannot read none.yaml: there is no such file
    error: unknown key `abuot`
    error: there is no kind of stage `downlod`
    error: unknown parameter `prts`
    error: stage `tune` has no input `vall`
    error: lr: must not be negative, and -1 is
    error: lr: expected a number, found the text "fast"
    "#);
    for extends in ["p.yaml", "7", "broken.yaml"] {
        assert_eq!(told(extends).matches("error:").count(), problems.matches("error:").count(), "{extends}");
    }
}
