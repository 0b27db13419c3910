//! Holds the reader of plain texts to the parser of the whole language: whatever the one reads, the other reads alike.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::plain::read;
use super::yaml;

fn same(text: &str) -> Result<bool, TestCaseError> {
    let read = read(text);
    if read.is_some() {
        prop_assert_eq!(&read, &yaml::parse_whole(text), "{}", text);
    }
    Ok(read.is_some())
}

#[test]
fn blocks_brackets_and_comments_are_read() {
    let text = "
# a comment
name: two words   # another
stages:
  a: { uses: command, in: { x: b.y }, with: { run: echo 1 > o, list: [1, -2, 3.5, \"q: r\", 's'], e: {}, f: [] } }
  b:
    uses: train
    with:
      lr: 1e-3
      deps:
      - x/y.txt
      - z
      transforms:
        - rotate: 45
          odd: true
        - hflip
  c:   # nothing
  d: http://x/#y
";
    let expected = json!({ "name": "two words", "stages": {
        "a": { "uses": "command", "in": { "x": "b.y" },
            "with": { "run": "echo 1 > o", "list": [1, -2, 3.5, "q: r", "s"], "e": {}, "f": [] } },
        "b": { "uses": "train", "with": { "lr": 0.001, "deps": ["x/y.txt", "z"],
            "transforms": [{ "rotate": 45, "odd": true }, "hflip"] } },
        "c": null, "d": "http://x/#y" } });
    assert_eq!(read(text), Some(expected.clone()));
    assert_eq!(yaml::parse_whole(text), Some(expected));
}

#[test]
fn what_needs_the_whole_language_is_left_to_it() {
    for text in [
        "",
        "a",
        "- a",
        "a: |\n  x\n",
        "a: b\n  c\n",
        "a: &x 1\n",
        "a: *x\n",
        "a: !t 1\n",
        "a: b: c\n",
        "a:\n  b\n",
        "a: {b}\n",
        "a: [b: c]\n",
        "a: {b: c,}\n",
        "a: {\n b: c }\n",
        "a: 'it''s'\n",
        "a: \"\\n\"\n",
        "a: b\na: c\n",
        "1: a\n",
        "null: a\n",
        "<<: a\n",
        "? a\n: b\n",
        "a: é\n",
        "a:\tb\n",
        "---\na: b\n",
        "a: {b: ${c}}\n",
        "a: 'b' c\n",
        "a:\n  b: 1\n c: 2\n",
        "a: [1]#\n",
        "a: -\n",
        "a: [-, b]\n",
        "- - a\n",
        "a: .nan\n",
        "a: {b: c}}\n",
        "a: b\n... \n",
    ] {
        assert_eq!(read(text).filter(|value| !value.is_array()), None, "{text:?}");
    }
}

#[test]
fn the_shipped_pipelines_are_read_alike_by_both() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let texts = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let plain = texts
        .filter(|path| path.is_file())
        .map(|path| same(&std::fs::read_to_string(path).unwrap()).unwrap());
    assert!(plain.filter(|plain| *plain).count() > 3);
}

fn any_text() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "b",
        "key: ",
        "k:",
        ": ",
        ":",
        " ",
        "  ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "-",
        "{ ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ",",
        " # c",
        "#",
        "1",
        "0",
        "07",
        "-3",
        "-,",
        "1.5",
        ".5",
        "1e3",
        "0x1f",
        "null",
        "true",
        "False",
        "~",
        "\"",
        "'",
        "x y",
        "?",
        "|",
        ">",
        "&a ",
        "*a",
        "!t ",
        "%",
        "@",
        "`",
        "$",
        "${v}",
        "---",
        "...",
        "a: { b: c }",
        "k: [1, 2]",
        "\\",
        "=",
        "<<",
        ".inf",
        "+1",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..25)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn whatever_is_read_is_read_as_the_whole_language_has_it(text in any_text()) {
        same(&text)?;
    }

    #[test]
    fn documents_with_a_wrong_line_are_read_alike(lines in proptest::collection::vec(
        (0..4_usize, proptest::sample::select(vec!["a:", "b:", "c: 1", "d: x # y", "e: {f: g, h: [i, 2]}", "- j", "- k: l", "m: n: o",
            "'p': \"q\"", "# r", "", "- [s]", "t : u", "v: -w", "- x: {y: z}", "- 'a': b", "b: 'c'd", "e:f", "g: ~", "\"h\":i"])), 1..12)) {
        let text: Vec<String> = lines.iter().map(|(indent, line)| format!("{}{line}\n", "  ".repeat(*indent))).collect();
        same(&text.concat())?;
    }
}
