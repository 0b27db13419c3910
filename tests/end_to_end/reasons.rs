//! Scripted edits of a small pipeline: exactly which reasons are told, and which edits are none.

use crate::workspace::Workspace;

/// `words` -> `upper` -> `count`, with a file, a variable and an environment variable.
const CHAIN: &str = r#"name: chain
vars: { word: one }
stages:
  words:
    uses: command
    with:
      run: ["printf", "${vars.word}"]
      outs: {}
  text:
    uses: command
    with:
      run: cat source.txt > text.txt
      deps: [source.txt]
      outs: { text: text.txt }
  upper:
    uses: command
    in: { text: text.text }
    with:
      run: tr a-z A-Z < in/text > upper.txt
      outs: { text: upper.txt }
      env: [STLPIPE_TEST_COLOUR]
  count:
    uses: command
    in: { text: upper.text }
    with: { run: wc -c < in/text > n.txt, outs: { n: n.txt } }
"#;

const ALL: [&str; 4] = ["words", "text", "upper", "count"];

fn chain() -> Workspace {
    let ws = Workspace::new(CHAIN);
    ws.write("source.txt", "one\n");
    ws.run().ran(ALL);
    ws
}

/// The lines of `status` without the times, which differ from machine to machine.
#[track_caller]
pub fn status(ws: &Workspace, words: &[&str]) -> Vec<String> {
    let said = ws.call(&[&["status", "pipeline.yaml"], words].concat()).succeeds();
    let plain = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let line = words.join(" ");
        let about = |line: &str, before: &str, after: &str| {
            let (start, rest) = line.split_once(before)?;
            let (_, end) = rest.split_once(" s")?;
            Some(format!("{start}{after}{}", end.trim_start()))
        };
        let without = |line: String, word: &str| {
            let closing = about(&line, &format!(", {word} "), "");
            closing.or_else(|| about(&line, &format!("{word} "), "")).unwrap_or(line)
        };
        without(without(line, "under"), "about")
    };
    said.out.lines().map(plain).collect()
}

#[track_caller]
pub fn edit(ws: &Workspace, from: &str, to: &str) {
    let text = ws.read("pipeline.yaml");
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    ws.write("pipeline.yaml", text.replace(from, to));
}

#[test]
fn a_parameter_an_input_and_what_lies_behind_are_told() {
    let ws = chain();
    edit(&ws, "cat source.txt > text.txt", "cat source.txt source.txt > text.txt");
    edit(&ws, "wc -c", "wc -l");
    assert_eq!(
        status(&ws, &[]),
        [
            "words up to date",
            "text will run text.run \"cat source.txt > text.txt\" -> \"cat source.txt source.txt > text.txt\" (pipeline.yaml:12)",
            "upper will run depends on text",
            "count will run count.run \"wc -c < in/text > n.txt\" -> \"wc -l < in/text > n.txt\" (pipeline.yaml:25)",
            "depends on upper",
            "3 of 4 stages to run",
        ]
    );
    let ran = ws.run().ran(["text", "upper", "count"]);
    let root = "text.run \"cat source.txt > text.txt\" -> \"cat source.txt source.txt > text.txt\" (pipeline.yaml:12)";
    assert_eq!(ran.reasons("upper"), [format!("input text changed: {root}")]);
    assert_eq!(
        ran.reasons("count"),
        [
            &format!("input text changed: {root}"),
            "count.run \"wc -c < in/text > n.txt\" -> \"wc -l < in/text > n.txt\" (pipeline.yaml:25)",
        ]
    );
}

#[test]
fn what_was_edited_back_is_named_as_the_cause_although_it_is_reused() {
    let ws = chain();
    edit(&ws, "cat source.txt >", "cat source.txt source.txt >");
    ws.run().ran(["text", "upper", "count"]);
    edit(&ws, "cat source.txt source.txt >", "cat source.txt >");
    ws.run().ran([]);
    edit(&ws, "cat source.txt >", "cat source.txt source.txt >");
    edit(&ws, "wc -c", "wc -l");
    let root = "text.run \"cat source.txt > text.txt\" -> \"cat source.txt source.txt > text.txt\" (pipeline.yaml:12)";
    assert_eq!(
        status(&ws, &[])[3..],
        [
            &format!("count will run input text changed: {root}"),
            "count.run \"wc -c < in/text > n.txt\" -> \"wc -l < in/text > n.txt\" (pipeline.yaml:25)",
            "1 of 4 stages to run",
        ]
    );
}

#[test]
fn a_cause_is_found_although_the_run_in_between_failed() {
    let ws = chain();
    edit(&ws, "cat source.txt >", "cat source.txt source.txt >");
    edit(&ws, "wc -c < in/text > n.txt", "exit 1");
    ws.run().failed(["count"]);
    edit(&ws, "exit 1", "wc -c < in/text > n.txt");
    let root = "text.run \"cat source.txt > text.txt\" -> \"cat source.txt source.txt > text.txt\" (pipeline.yaml:12)";
    assert_eq!(status(&ws, &[])[3], format!("count will run input text changed: {root}"));
}

#[test]
fn files_and_variables_of_the_environment_are_named() {
    let ws = chain();
    ws.write("source.txt", "other\n");
    assert_eq!(
        status(&ws, &[])[1..3],
        [
            "text will run deps: source.txt has other content (pipeline.yaml:13)",
            "upper will run depends on text"
        ]
    );
    let ran = ws.run().ran(["text", "upper", "count"]);
    assert_eq!(
        ran.reasons("count"),
        ["input text changed: text: deps: source.txt has other content (pipeline.yaml:13)"]
    );
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_stlpipe"))
        .current_dir(ws.path(""))
        .env("STLPIPE_TEST_COLOUR", "red")
        .args(["status", "pipeline.yaml"])
        .output()
        .expect("the program starts");
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(out.contains("upper.env.STLPIPE_TEST_COLOUR null -> \"red\" (pipeline.yaml:21)"), "{out}");
}

#[test]
fn variables_settings_and_extended_files_are_named_where_they_stand() {
    let ws = chain();
    edit(&ws, "word: one", "word: two");
    assert_eq!(status(&ws, &[])[0], "words will run words.run.1 \"one\" -> \"two\" (pipeline.yaml:2)");
    assert_eq!(
        status(&ws, &["--set", "vars.word=three"])[0],
        "words will run words.run.1 \"one\" -> \"three\" (--set vars.word=three)"
    );
    ws.write("base/base.yaml", CHAIN.replace("word: one", "word: four"));
    ws.write("pipeline.yaml", "extends: base/base.yaml\nname: chain\n");
    assert_eq!(status(&ws, &[])[0], "words will run words.run.1 \"one\" -> \"four\" (base/base.yaml:2)");
    ws.write(
        "pipeline.yaml",
        "extends: base/base.yaml\nname: chain\nstages: { words: { with: { run: [echo] } } }\n",
    );
    assert_eq!(
        status(&ws, &[])[..2],
        [
            "words will run words.run.0 \"printf\" -> \"echo\" (pipeline.yaml:3)",
            "words.run.1 removed, was \"one\" (pipeline.yaml:3)",
        ]
    );
}

#[test]
fn inputs_that_come_from_elsewhere_are_named_with_both_sources() {
    let ws = chain();
    edit(&ws, "in: { text: upper.text }", "in: { text: text.text }");
    assert_eq!(status(&ws, &[])[3], "count will run input text: upper.text -> text.text (pipeline.yaml:24)");
    edit(
        &ws,
        "in: { text: text.text }\n    with: { run: wc",
        "in: { text: upper.text, more: text.text }\n    with: { run: wc",
    );
    assert_eq!(status(&ws, &[])[3], "count will run input more is new: text.text (pipeline.yaml:24)");
    edit(&ws, "    in: { text: upper.text, more: text.text }\n", "");
    assert_eq!(status(&ws, &[])[3], "count will run input text is no longer bound (pipeline.yaml:22)");
}

#[test]
fn an_input_from_elsewhere_is_told_although_its_former_source_has_changed() {
    let ws = Workspace::new(
        "stages:
  a: { uses: command, with: { run: echo a > o, outs: { o: o } } }
  b: { uses: command, with: { run: echo b > o, outs: { o: o } } }
  c: { uses: command, in: { x: a }, with: { run: cat in/x > o, outs: { o: o } } }
",
    );
    ws.run().ran(["a", "b", "c"]);
    ws.run_with(&["--set", "a.run=echo aa > o", "--stage", "a"]).ran(["a"]);
    edit(&ws, "{ x: a }", "{ x: b }");
    assert_eq!(status(&ws, &[])[2], "c will run input x: a.o -> b.o (pipeline.yaml:4)");
    let shown = ws.call(&["show", "pipeline.yaml", "c"]).succeeds().out;
    assert!(shown.contains("a.o -> b.o"), "the reason: {shown}");
    let last = shown.split_once("the last good result").expect("there is one").1;
    assert!(!last.contains("b.o"), "it was not made from that: {shown}");
}

#[test]
fn a_failure_is_not_told_once_the_stage_was_up_to_date() {
    let ws = Workspace::new("stages:\n  a: { uses: command, with: { run: echo a > o, outs: { o: o } } }\n");
    ws.run().ran(["a"]);
    ws.run_with(&["--set", "a.run=exit 7"]).failed(["a"]);
    let told =
        |ws: &Workspace| status(ws, &["--set", "a.run=echo b > o"]).join("\n").contains("failed last time");
    assert!(told(&ws), "{:?}", status(&ws, &["--set", "a.run=echo b > o"]));
    ws.run().ran([]);
    assert!(!told(&ws), "{:?}", status(&ws, &["--set", "a.run=echo b > o"]));
}

#[test]
fn lost_outputs_lost_records_and_force_are_told() {
    let ws = chain();
    let digest = ws.digests("upper")["text"].clone();
    std::fs::remove_file(ws.path(&format!("cache/blobs/{}/{digest}", &digest[..2]))).expect("there");
    assert_eq!(
        status(&ws, &[])[2],
        format!("upper will run output lost: blob {}.. missing (text)", &digest[..12])
    );
    let ran = ws.run_with(&["--force", "upper"]).ran(["upper"]);
    assert_eq!(
        ran.reasons("upper"),
        ["forced", &format!("output lost: blob {}.. missing (text)", &digest[..12])]
    );
    std::fs::remove_dir_all(ws.path("cache/records")).expect("there");
    assert_eq!(status(&ws, &[])[0], "words will run output lost: its record is no longer in the cache");
}

#[test]
fn a_forced_stage_that_makes_other_bytes_is_the_cause() {
    let ws = Workspace::new(
        "stages:
  now: { uses: command, with: { run: \"date +%N > t\", outs: { t: t } } }
  copy: { uses: command, in: { t: now }, with: { run: \"cp in/t t\", outs: { t: t } } }
",
    );
    ws.run().ran(["now", "copy"]);
    let ran = ws.run_with(&["--force", "now"]).ran(["now", "copy"]);
    assert_eq!(ran.reasons("copy"), ["input t changed: now made other bytes from the same inputs"]);
}

#[test]
fn a_renamed_stage_is_compared_with_its_former_self() {
    let ws = chain();
    edit(&ws, "  count:", "  length:");
    assert_eq!(
        status(&ws, &[]).last().map(String::as_str),
        Some("nothing to do: all 4 stages are up to date")
    );
    edit(&ws, "wc -c", "wc -l");
    assert_eq!(
        status(&ws, &[])[3],
        "length will run length.run \"wc -c < in/text > n.txt\" -> \"wc -l < in/text > n.txt\" (pipeline.yaml:25)"
    );
    edit(&ws, "name: chain", "name: other");
    assert_eq!(
        status(&ws, &[])[3..5],
        [
            "length will run length.run \"wc -c < in/text > n.txt\" -> \"wc -l < in/text > n.txt\" (pipeline.yaml:25)",
            "compared with the results of chain, as this pipeline never ran",
        ]
    );
}

#[test]
fn another_kind_is_told_without_its_parameters() {
    let ws = Workspace::new(
        "stages:\n  a: { uses: synthesize, with: { train_per_class: 1, test_per_class: 1 } }\n",
    );
    ws.run().ran(["a"]);
    ws.write("pipeline.yaml", "stages:\n  a: { uses: command, with: { run: \"true\" } }\n");
    assert_eq!(status(&ws, &[])[0], "a will run a uses synthesize -> command (pipeline.yaml:2)");
}

/// An archive to augmented pictures: parameters with defaults, a list, and results that grow.
const PICTURES: &str = "\
name: pictures
stages:
  archive: { uses: synthesize, with: { train_per_class: 8, test_per_class: 2 } }
  images: { uses: decode, in: { archive: archive } }
  split: { uses: split, in: { images: images.train }, with: { parts: { train: 0.75, val: 0.25 }, seed: 1 } }
  augmented:
    uses: augment
    in: { images: split.train }
    with:
      samples: 40
      transforms: [ { resized-crop: 32 }, { hflip: 0.5 } ]
  val: { uses: augment, in: { images: split.val }, with: { samples: 16, transforms: [ { resized-crop: 32 } ] } }
  train:
    uses: train
    in: { train: augmented, val: val }
    with: { model: lenet, epochs: 2, batch: 16, lr: 0.001, seed: 1 }
";

#[test]
fn edits_that_mean_the_same_run_nothing() {
    let ws = Workspace::new(PICTURES);
    ws.run().ran(["archive", "images", "split", "augmented", "val", "train"]);
    let same = [
        ("# a comment, and another name\n", "name: pictures", "name: photographs"),
        ("", "model: lenet, epochs: 2", "epochs: 2, model: 'lenet'"),
        ("", "lr: 0.001", "lr: 1.0e-3"),
        ("", "batch: 16, lr: 0.001", "batch: 16, optimizer: adam, schedule: constant, lr: 0.001"),
        (
            "",
            "      samples: 40\n      transforms: [ { resized-crop: 32 }, { hflip: 0.5 } ]",
            "      transforms:\n        - resized-crop: 32\n        - { hflip: 0.5 }\n      samples: 40   # as many as there are",
        ),
        ("", "samples: 40\n", "samples: 40\n      redraw: never\n"),
        ("vars: { s: &n 1, u: *n, per: 8 }\n", "train_per_class: 8", "train_per_class: \"${vars.per}\""),
        ("", "seed: 1 } }\n  augmented", "seed: &one 1 } }\n  augmented"),
    ];
    for (before, from, to) in same {
        assert_eq!(PICTURES.matches(from).count(), 1, "{from}");
        ws.write("pipeline.yaml", format!("{before}{}", PICTURES.replace(from, to)));
        ws.run().ran([]);
    }
    let renamed =
        PICTURES.replace("augmented", "more").replace("images", "pictures").replace("images:", "pictures:");
    let renamed = renamed.replace("in: { pictures:", "in: { images:");
    ws.write("pipeline.yaml", renamed);
    ws.run().ran([]);
    // The whole directory moves, and the file gets another name.
    ws.write("pipeline.yaml", PICTURES);
    let moved = tempfile::tempdir().expect("a temporary directory");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([ws.path("."), moved.path().join("elsewhere")])
        .status()
        .expect("cp starts");
    assert!(copied.success());
    let elsewhere = moved.path().join("elsewhere");
    std::fs::rename(elsewhere.join("pipeline.yaml"), elsewhere.join("other.yaml")).expect("there");
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_stlpipe"))
        .current_dir(&elsewhere)
        .args(["run", "other.yaml"])
        .output()
        .expect("the program starts");
    let err = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(err.contains("nothing to do: all 6 stages are up to date"), "{err}");
}

#[test]
fn defaults_growth_and_what_prevents_it_are_told() {
    let ws = Workspace::new(PICTURES);
    ws.run().ran(["archive", "images", "split", "augmented", "val", "train"]);
    edit(&ws, "epochs: 2", "epochs: 3");
    assert_eq!(
        status(&ws, &[])[5..7],
        ["train will run train.epochs 2 -> 3 (pipeline.yaml:16)", "goes on after 2 of 3 epochs"]
    );
    edit(&ws, "epochs: 3", "epochs: 3, schedule: cosine");
    let lines = status(&ws, &[]);
    assert!(
        lines.contains(&"starts anew, because a cosine schedule depends on the number of epochs".to_owned()),
        "{lines:?}"
    );
    edit(&ws, "epochs: 3, schedule: cosine", "epochs: 2");
    edit(&ws, "      samples: 40\n", "      samples: 48\n");
    let ran = ws.run().ran(["augmented", "train"]);
    assert_eq!(ran.reasons("augmented"), ["augmented.samples 40 -> 48 (pipeline.yaml:10)"]);
    assert_eq!(ran.reasons("train"), ["input train changed: augmented.samples 40 -> 48 (pipeline.yaml:10)"]);
    edit(&ws, "lr: 0.001, ", "");
    edit(&ws, ", { hflip: 0.5 } ]", " ]");
    let lines = status(&ws, &[]);
    assert_eq!(
        lines[3],
        "augmented will run augmented.transforms.1.hflip removed, was 0.5 (pipeline.yaml:11)"
    );
}

#[test]
fn why_shows_the_whole_key_and_the_nearest_result() {
    let ws = chain();
    ws.call(&["why", "pipeline.yaml", "count"]).succeeds().says([
        "count of chain: up to date",
        "\nkey ",
        "params.run     \"wc -c < in/text > n.txt\"  pipeline.yaml:25",
        "upper.text",
        "\nresult: count of chain, made just now",
    ]);
    edit(&ws, "wc -c", "wc -l");
    edit(&ws, "tr a-z A-Z", "tr a-y A-Y");
    ws.call(&["why", "pipeline.yaml", "count"]).succeeds().says([
        "count of chain: will run, under 1 s\n",
        "key not known yet, because of input text from upper.text",
        "inputs.text    not known yet",
        "nearest result: count of chain, made just now",
        "\n  -  params.run  \"wc -c < in/text > n.txt\"\n  +  params.run  \"wc -l < in/text > n.txt\"\n",
    ]);
    let said = ws.call(&["why", "pipeline.yaml", "upper", "--json"]).succeeds();
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(json["nearest"]["differences"][0]["part"], "params.run");
    assert_eq!(json["nearest"]["stage"], "upper");
    ws.call(&["why", "pipeline.yaml", "uper"]).exits(2).says(["did you mean `upper`?"]);
}

#[test]
fn runs_are_listed_and_compared() {
    let ws = chain();
    edit(&ws, "wc -c", "wc -l");
    ws.run().ran(["count"]);
    ws.run().ran([]);
    let listed = ws.call(&["runs", "pipeline.yaml"]).succeeds().out;
    let names: Vec<&str> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["chain~0", "chain~1"], "a run that changed nothing is none");
    let said = ws.call(&["compare", "chain~1", "chain", "--json"]).succeeds();
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let params = json["params"].as_object().expect("an object");
    assert_eq!(params.len(), 1, "{params:?}");
    assert_eq!(params["count.run"][1], "wc -l < in/text > n.txt");
    ws.call(&["compare", "chain~1", "chain"]).succeeds().says(["count.run", "wc -c < in/text > n.txt"]);
    ws.call(&["compare", "chain", "chian"]).exits(2).says(["did you mean `chain"]);
}
