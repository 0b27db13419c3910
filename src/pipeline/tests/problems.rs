//! Claims about what is said of the mistakes in a pipeline file: whole messages, as people see them.

use super::{Files, SMALL, problems};

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

    error: variables refer to each other in a cycle: a -> b -> a
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

    error: stage `images` has no input `extra`
     --> p.yaml:6:49
      |
    6 |   images: { uses: split, in: { archive: archiv, extra: train.history }, with: { parts: train } }
      |                                                 ^^^^^
      = its inputs are `archive`

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
fn inputs_that_do_not_fit_are_told_with_what_would() {
    let text = "\
stages:
  archive: { uses: download, with: { url: x }, in: { x: archive } }
  images: { uses: split, in: { archive: train.model }, with: { parts: [train, val] } }
  train:
    uses: train
    in: { train: archive, val: images.history, modle: images.val, model: [a] }
  tune: { uses: train }
  tool: { uses: command, with: { run: x }, in: { any: images.val, 'a b': archive } }
  many: { uses: command, with: { run: x }, in: images.train }
  none: { uses: split, in: { archive: empty }, with: { parts: [] } }
  more: { uses: command, with: 7, in: { x: none } }
";
    insta::assert_snapshot!(problems(text), @r#"
    error: stage `archive` has no input `x`
     --> p.yaml:2:54
      |
    2 |   archive: { uses: download, with: { url: x }, in: { x: archive } }
      |                                                      ^
      = it has no inputs

    error: stage `archive` reads its own output
     --> p.yaml:2:57
      |
    2 |   archive: { uses: download, with: { url: x }, in: { x: archive } }
      |                                                         ^^^^^^^

    error: `archive` takes a file, and this is a model
     --> p.yaml:3:41
      |
    3 |   images: { uses: split, in: { archive: train.model }, with: { parts: [train, val] } }
      |                                         ^^^^^^^^^^^
      = `train.history` would fit

    error: `train` takes a dataset, and this is a file
     --> p.yaml:6:18
      |
    6 |     in: { train: archive, val: images.history, modle: images.val, model: [a] }
      |                  ^^^^^^^

    error: stage `images` has no output `history`
     --> p.yaml:6:32
      |
    6 |     in: { train: archive, val: images.history, modle: images.val, model: [a] }
      |                                ^^^^^^^^^^^^^^
      = write one of `images.train`, `images.val`

    error: stage `train` has no input `modle`
     --> p.yaml:6:48
      |
    6 |     in: { train: archive, val: images.history, modle: images.val, model: [a] }
      |                                                ^^^^^
      = did you mean `model`?

    error: a source is `stage` or `stage.port`, and this is a list
     --> p.yaml:6:74
      |
    6 |     in: { train: archive, val: images.history, modle: images.val, model: [a] }
      |                                                                          ^

    error: stage `tune` needs an input `train`
     --> p.yaml:7:3
      |
    7 |   tune: { uses: train }
      |   ^^^^
      = bind it with `in: { train: STAGE }` to a dataset

    error: stage `tune` needs an input `val`
     --> p.yaml:7:3
      |
    7 |   tune: { uses: train }
      |   ^^^^
      = bind it with `in: { val: STAGE }` to a dataset

    error: "a b" cannot name an input
     --> p.yaml:8:67
      |
    8 |   tool: { uses: command, with: { run: x }, in: { any: images.val, 'a b': archive } }
      |                                                                   ^^^^^
      = names are letters, digits, `_` and `-`, and start with a letter or `_`

    error: `in` is a map of input ports and their sources, and this is the text "images.train"
     --> p.yaml:9:48
      |
    9 |   many: { uses: command, with: { run: x }, in: images.train }
      |                                                ^^^^^^^^^^^^

    error: no stage is named `empty`
      --> p.yaml:10:39
       |
    10 |   none: { uses: split, in: { archive: empty }, with: { parts: [] } }
       |                                       ^^^^^

    error: `with` is a map of parameters, and this is the number 7
      --> p.yaml:11:32
       |
    11 |   more: { uses: command, with: 7, in: { x: none } }
       |                                ^

    error: stage `none` has no outputs
      --> p.yaml:11:44
       |
    11 |   more: { uses: command, with: 7, in: { x: none } }
       |                                            ^^^^
    "#);
}

#[test]
fn a_name_that_is_a_path_is_refused() {
    let stages =
        "stages: { vars: { uses: command, with: { run: x } }, a.b: { uses: command, with: { run: x } } }";
    insta::assert_snapshot!(problems(&format!("name: ../x\n{stages}\n")), @r#"
    error: "../x" cannot name a pipeline, because folders are named after it
     --> p.yaml:1:7
      |
    1 | name: ../x
      |       ^^^^

    error: `vars` cannot name a stage
     --> p.yaml:2:11
      |
    2 | stages: { vars: { uses: command, with: { run: x } }, a.b: { uses: command, with: { run: x } } }
      |           ^^^^
      = `--set vars.x=1` and `${vars.x}` mean the variables

    error: "a.b" cannot name a stage
     --> p.yaml:2:54
      |
    2 | stages: { vars: { uses: command, with: { run: x } }, a.b: { uses: command, with: { run: x } } }
      |                                                      ^^^
      = names are letters, digits, `_` and `-`, and start with a letter or `_`
    "#);
    assert!(problems("name: [a]\nabout: 3\nvars: [1]\nstages: 5\n").matches("error:").count() == 4);
}

#[test]
fn more_problems_than_anybody_reads_are_cut_short() {
    let text =
        (0..1000).fold(String::from("stages:\n"), |text, n| text + &format!("  s{n}: {{ uses: x }}\n"));
    assert_eq!(Files::of(&text).read(&[]).unwrap_err().len(), 200);
}

#[test]
fn a_setting_that_fits_nowhere_is_told_by_its_own_text() {
    let settings = ["trian.epochs=5", "vars.m=1", "images.parts.2=x", "train.epochs=many", "train.epoch=1"];
    insta::assert_snapshot!(Files::of(SMALL).problems(&settings), @r#"
    error: `2` is no position in a list of 2
     --> --set images.parts.2=x
      = positions count from 0 to 1; to make it longer give the whole list, such as --set NAME='[A, B]'

    error: unknown parameter `epoch`
     --> --set train.epoch=1
      = did you mean `epochs`?

    error: epochs: expected a whole number, found the text "many"
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
fn a_stage_is_not_blamed_for_a_variable_that_is_wrong() {
    let text = "\
vars: { a: '${vars.b}', b: '${vars.a}' }
stages:
  s: { uses: command, with: { run: [], '${vars.a}': 1, x: '${vars.a}' } }
  t: { uses: command, with: { run: '${vars.b}' }, in: { x: s.out } }
";
    insta::assert_snapshot!(problems(text), @r"
    error: variables refer to each other in a cycle: a -> b -> a
     --> p.yaml:1:12
      |
    1 | vars: { a: '${vars.b}', b: '${vars.a}' }
      |            ^^^^^^^^^^^
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

    error: `${HOME}` is no reference to a variable
     --> p.yaml:4:36
      |
    4 |   b: { uses: command, with: { run: 'echo ${vars.list} $${HOME} ${HOME}' } }
      |                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = a variable is `${vars.NAME}`; a literal `${HOME}` is written `$${HOME}`

    error: `${vars.list}` is a list and does not fit inside a text
     --> p.yaml:4:36
      |
    4 |   b: { uses: command, with: { run: 'echo ${vars.list} $${HOME} ${HOME}' } }
      |                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn a_parameter_that_asks_for_more_samples_than_there_will_be_is_told_with_them() {
    let text = "\
stages:
  archive: { uses: download, with: { url: x } }
  few: { uses: split, in: { archive: archive }, with: { parts: [a, b], each: 20 } }
  any: { uses: split, in: { archive: archive }, with: { parts: [a] } }
  right: { uses: train, in: { train: few.a, val: few.b }, with: { batch: 20 } }
  unknown: { uses: train, in: { train: any, val: few.b }, with: { batch: 21 } }
  wrong: { uses: train, in: { train: few.a, val: few.b }, with: { batch: 21 } }
";
    insta::assert_snapshot!(problems(text), @"
    error: batch 21 is more than the 20 samples of `few.a`
     --> p.yaml:7:74
      |
    7 |   wrong: { uses: train, in: { train: few.a, val: few.b }, with: { batch: 21 } }
      |                                                                          ^^
      = choose a batch of at most 20, or give `few.a` more samples
    ");
}
