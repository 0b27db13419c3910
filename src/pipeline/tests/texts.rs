//! Claims about what is said of texts that are no pipeline at all: no YAML, no map, no bearable size.

use super::{Files, problems};
use crate::pipeline::read;
use crate::pipeline::test_catalogue::FewKinds;

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

    error: keys must be text; put quotes around this one
     --> p.yaml:2:1
      |
    2 | true: y
      | ^^^^

    error: tags such as `!odd` mean nothing here
     --> p.yaml:3:7
      |
    3 | name: !odd z
      |       ^^^^^^

    error: `.nan` is no value here
     --> p.yaml:5:33
      |
    5 |   a: { uses: train, with: { lr: .nan } }
      |                                 ^^^^

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
      = the path counts from the folder of the file that it stands in
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
     --> q.yaml:1:10
      |
    1 | extends: p.yaml
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
