//! Edits that change no plain value: of where something comes from, of names, and of entries. What they are called, and
//! that they are not taken for others.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::reasons::{edit, status};
use crate::workspace::Workspace;

const FETCH: &str = r#"name: fetch
stages:
  archive: { uses: download, with: { url: a.txt } }
  count: { uses: command, in: { x: archive }, with: { run: "wc -c < in/x > n", outs: { n: n } } }
"#;

fn fetched() -> Workspace {
    let ws = Workspace::new(FETCH);
    ws.write("a.txt", "one\n").write("b.txt", "three\n");
    ws.run().ran(["archive", "count"]);
    ws
}

/// The address of a server that gives this text to everybody.
fn serve(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
            let _ = stream.write_all(format!("{head}{text}").as_bytes());
        }
    });
    format!("http://{address}/x")
}

#[test]
fn another_file_is_an_edit_of_the_field_that_names_it() {
    let ws = fetched();
    edit(&ws, "url: a.txt", "url: b.txt");
    let field = "archive.url \"a.txt\" -> \"b.txt\" (pipeline.yaml:3)";
    let told = [&format!("archive will run {field}"), "count will run depends on archive"];
    assert_eq!(status(&ws, &[])[..2], told);
    let ran = ws.run().ran(["archive", "count"]);
    assert_eq!(ran.reasons("archive"), [field]);
    assert_eq!(ran.reasons("count"), [format!("input x changed: {field}")]);

    ws.write("b.txt", "thirteen\n");
    assert_eq!(status(&ws, &[])[0], "archive will run url: b.txt has other content (pipeline.yaml:3)");
    // The same file, written otherwise.
    edit(&ws, "url: b.txt", "url: ./b.txt");
    assert_eq!(status(&ws, &[])[0], "archive will run url: ./b.txt has other content (pipeline.yaml:3)");
}

#[test]
fn a_file_that_moved_before_it_changed_has_other_content() {
    let ws = fetched();
    ws.write("c.txt", "one\n");
    edit(&ws, "url: a.txt", "url: c.txt");
    ws.run().ran([]);
    ws.write("c.txt", "two\n");
    assert_eq!(status(&ws, &[])[0], "archive will run url: c.txt has other content (pipeline.yaml:3)");
}

#[test]
fn from_a_file_to_the_web_and_back_is_an_edit_of_the_field() {
    let ws = fetched();
    let url = serve("three\n");
    edit(&ws, "url: a.txt", &format!("url: \"{url}\""));
    let field = format!("archive.url \"a.txt\" -> \"{url}\" (pipeline.yaml:3)");
    assert_eq!(
        status(&ws, &[])[..2],
        [format!("archive will run {field}"), "count will run depends on archive".to_owned()]
    );
    assert_eq!(ws.run().ran(["archive", "count"]).reasons("archive"), [field]);
    edit(&ws, &format!("url: \"{url}\""), "url: a.txt");
    assert_eq!(ws.run().ran([]).said.code, Some(0));
    ws.write("c.txt", "another\n");
    edit(&ws, "url: a.txt", &format!("url: \"{url}\""));
    ws.run().ran([]);
    edit(&ws, &format!("url: \"{url}\""), "url: c.txt");
    assert_eq!(
        status(&ws, &[])[..2],
        [
            format!("archive will run archive.url \"{url}\" -> \"c.txt\" (pipeline.yaml:3)"),
            "count will run depends on archive".to_owned()
        ]
    );
    // The md5 of "another\n": with it the address counts no more.
    let md5 = "md5: 07e2ee723f15e8cf2a70dd2ffdb4dd84";
    edit(&ws, "url: c.txt", &format!("url: \"{url}\", {md5}"));
    assert_eq!(status(&ws, &[])[1], format!("archive.url no longer counts, was \"{url}\" (pipeline.yaml:3)"));
    // And without one the address counts again.
    edit(&ws, md5, "md5: febe6995bad457991331348f7b9c85fa");
    ws.run().ran(["archive"]);
    edit(&ws, "md5: febe6995bad457991331348f7b9c85fa", "size: 6");
    let told = [
        "archive will run archive.md5 removed, was \"febe6995bad457991331348f7b9c85fa\" (pipeline.yaml:3)",
        "archive.size added: 6 (pipeline.yaml:3)",
        &format!("archive.url counts now: \"{url}\" (pipeline.yaml:3)"),
    ];
    assert_eq!(status(&ws, &[])[..3], told);
}

#[test]
fn another_kind_is_told_without_the_files_of_the_former() {
    let ws = fetched();
    edit(&ws, "uses: download, with: { url: a.txt }", "uses: synthesize, with: { train_per_class: 1 }");
    assert_eq!(
        status(&ws, &[])[..2],
        [
            "archive will run archive uses download -> synthesize (pipeline.yaml:3)",
            "count will run depends on archive",
        ]
    );
    let closing = |ws: &Workspace| {
        ws.call(&["status", "pipeline.yaml"]).succeeds().out.lines().last().map(str::to_owned)
    };
    let told = closing(&ws).expect("a line");
    assert!(told.ends_with(" without one of another kind than before"), "{told}");
    ws.write(
        "pipeline.yaml",
        ws.read("pipeline.yaml") + "  new: { uses: decode, in: { archive: archive } }\n",
    );
    let told = closing(&ws).expect("a line");
    assert!(told.ends_with(" without those whose time is not known"), "{told}");
}

#[test]
fn other_files_of_a_command_are_told_as_they_are_named() {
    let ws = Workspace::new(
        "stages:\n  a: { uses: command, with: { run: cat x.txt > o, outs: { o: o }, deps: [one/x.txt] } }\n",
    );
    let (one, two) = (ws.path("one/x.txt"), ws.path("two/x.txt"));
    ws.write("one/x.txt", "1\n").write("two/x.txt", "2\n");
    edit(&ws, "one/x.txt", one.to_str().expect("text"));
    ws.run().ran(["a"]);
    edit(&ws, "one/x.txt", "two/x.txt");
    assert_eq!(
        status(&ws, &[])[0],
        format!("a will run a.deps.0 \"{}\" -> \"{}\" (pipeline.yaml:2)", one.display(), two.display())
    );
}

#[test]
fn what_is_no_longer_read_is_told_with_the_line_around_it() {
    let ws = Workspace::new(
        "stages:
  a:
    uses: command
    with:
      run: cat x.txt > o || true
      outs: { o: o }
      deps: [x.txt, y.txt, d]
  b: { uses: command, in: { x: a, y: a }, with: { run: cat in/x > o, outs: { o: o } } }
",
    );
    ws.write("x.txt", "1\n").write("y.txt", "2\n").write("d/z.txt", "3\n").write("d/w.txt", "4\n");
    ws.run().ran(["a", "b"]);
    edit(&ws, "{ x: a, y: a }", "{ x: a }");
    assert_eq!(status(&ws, &[])[1], "b will run input y is no longer bound (pipeline.yaml:8)");
    std::fs::remove_file(ws.path("d/z.txt")).expect("there");
    let folder = "deps: d/z.txt is no longer read (pipeline.yaml:7)";
    assert_eq!(status(&ws, &[])[0], format!("a will run {folder}"));
    edit(&ws, "[x.txt, y.txt, d]", "[x.txt, d]");
    let one = "deps: y.txt is no longer read (pipeline.yaml:7)";
    assert_eq!(status(&ws, &[])[..2], [&format!("a will run {folder}"), one]);
    edit(&ws, "      deps: [x.txt, d]\n", "");
    assert_eq!(status(&ws, &[])[2], "deps: x.txt is no longer read (pipeline.yaml:4)");
}

#[test]
fn one_stage_that_is_gone_is_the_former_self_of_one_alone() {
    let stage = |name: &str, run: &str| {
        format!("  {name}: {{ uses: command, with: {{ run: [sh, -c, {run}], outs: {{ o: o }} }} }}\n")
    };
    let ws = Workspace::new(&format!("stages:\n{}", stage("a", "echo a > o")));
    ws.run().ran(["a"]);
    let (b, c) = (stage("b", "echo b > o"), stage("c", "exit 3"));
    ws.write("pipeline.yaml", format!("stages:\n{b}{c}"));
    let told = [
        "b will run b.run.2 \"echo a > o\" -> \"echo b > o\" (pipeline.yaml:2)",
        "c will run first run",
        "2 of 2 stages to run",
    ];
    assert_eq!(status(&ws, &[])[..2], told[..2]);
    // What b was once does not come to be what c was when b is done and c has failed.
    ws.run_with(&["--keep-going"]).failed(["c"]);
    assert_eq!(status(&ws, &[])[..2], ["b up to date", "c will run first run"]);
    // The nearest has it, whichever comes first.
    let ws = Workspace::new(&format!("stages:\n{}", stage("a", "echo a > o")));
    ws.run().ran(["a"]);
    let far = stage("b", "echo b > o").replace("[sh,", "[bash,");
    ws.write("pipeline.yaml", format!("stages:\n{far}{}", stage("c", "echo c > o")));
    assert_eq!(
        status(&ws, &[])[..2],
        ["b will run first run", "c will run c.run.2 \"echo a > o\" -> \"echo c > o\" (pipeline.yaml:3)"]
    );
}

#[test]
fn a_stage_that_was_there_beside_another_is_no_other_name_of_it() {
    let stages = |a: &str, source: &str| {
        format!(
            "stages:
{a}  b: {{ uses: command, with: {{ run: echo 2 > o, outs: {{ o: o }} }} }}
  c: {{ uses: command, in: {{ x: {source} }}, with: {{ run: cat in/x > o, outs: {{ o: o }} }} }}
"
        )
    };
    let a = "  a: { uses: command, with: { run: echo 1 > o, outs: { o: o } } }\n";
    let ws = Workspace::new(&stages(a, "a"));
    ws.run().ran(["a", "b", "c"]);
    ws.write("pipeline.yaml", stages("", "b"));
    assert_eq!(status(&ws, &[])[..2], ["b up to date", "c will run input x: a.o -> b.o (pipeline.yaml:3)"]);
    // Nor is one that came when it went, if yet another took its place.
    let ws = Workspace::new(&stages(a, "a"));
    ws.run().ran(["a", "b", "c"]);
    let (near, far) = (a.replace("a:", "near:"), a.replace("a:", "far:").replace("echo 1", "echo 3"));
    ws.write("pipeline.yaml", stages(&format!("{near}{far}"), "far"));
    let told = status(&ws, &[]);
    assert_eq!(told[..2], ["near up to date", "far will run first run"]);
    let ran = ws.run().ran(["far", "c"]);
    assert_eq!(ran.reasons("c"), ["input x: a.o -> far.o (pipeline.yaml:5)"]);
}

#[test]
fn a_stage_that_failed_beside_another_is_no_other_name_of_it() {
    let stage = |name: &str, run: &str| {
        format!("  {name}: {{ uses: command, with: {{ run: [sh, -c, {run}], outs: {{ o: o }} }} }}\n")
    };
    let (a, b, c) = (stage("a", "echo 1 > o"), stage("b", "echo 2 > o"), stage("c", "exit 3"));
    let ws = Workspace::new(&format!("stages:\n{a}{b}"));
    ws.run().ran(["a", "b"]);
    ws.write("pipeline.yaml", format!("stages:\n{a}{b}{c}"));
    ws.run().failed(["c"]);
    ws.write("pipeline.yaml", format!("stages:\n{b}{c}"));
    assert_eq!(status(&ws, &[])[..2], ["b up to date", "c will run first run"]);
    // Nor by the next run, which did not have the other any more.
    ws.run().failed(["c"]);
    ws.write("pipeline.yaml", format!("stages:\n{b}{}", stage("c", "echo 3 > o")));
    assert_eq!(status(&ws, &[])[..2], ["b up to date", "c will run first run"]);
}

#[test]
fn a_stage_that_was_there_beside_another_under_its_new_name_is_not_read_as_that() {
    let stage = |name: &str, run: &str, inputs: &str| {
        format!(
            "  {name}: {{ uses: command, in: {{ {inputs} }}, with: {{ run: {run}, outs: {{ o: o }} }} }}\n"
        )
    };
    let reader = |inputs: &str| stage("reader", "cat in/x > o", inputs);
    let ws = Workspace::new(&format!("stages:\n{}{}", stage("a", "echo 1 > o", ""), reader("x: a")));
    ws.run().ran(["a", "reader"]);
    let (failing, other) = (stage("b", "exit 3", ""), stage("c", "echo 3 > o", ""));
    ws.write("pipeline.yaml", format!("stages:\n{failing}{}", reader("x: b")));
    ws.run().failed(["b"]);
    ws.write("pipeline.yaml", format!("stages:\n{failing}{other}{}", reader("x: b, y: c")));
    ws.run_with(&["--keep-going"]).failed(["b"]);
    ws.write("pipeline.yaml", format!("stages:\n{other}{}", reader("x: c")));
    let told = ["c up to date", "reader will run input x: a.o -> c.o (pipeline.yaml:3)"];
    assert_eq!(status(&ws, &[])[..2], told);
}

#[test]
fn a_stage_that_was_edited_all_over_is_renamed_if_it_took_the_place_of_one_for_all_who_read_that() {
    let pipeline = "stages:
  a: { uses: synthesize, with: { train_per_class: 1, test_per_class: 1, seed: 1 } }
  b: { uses: command, in: { x: a }, with: { run: wc -c < in/x > o, outs: { o: o } } }
  c: { uses: command, in: { x: a }, with: { run: head -c 9 in/x > o, outs: { o: o } } }
";
    let ws = Workspace::new(pipeline);
    ws.run().ran(["a", "b", "c"]);
    let a = "uses: synthesize, with: { train_per_class: 1, test_per_class: 1, seed: 1 }";
    let far = "uses: synthesize, with: { train_per_class: 2, test_per_class: 3, seed: 4 }";
    let renamed = pipeline.replace("  a:", "  a5:").replace("x: a", "x: a5").replace(a, far);
    ws.write("pipeline.yaml", renamed.replace("wc -c <", "exit 3;"));
    let fields = [
        "a5.seed 1 -> 4 (pipeline.yaml:2)",
        "a5.test_per_class 1 -> 3 (pipeline.yaml:2)",
        "a5.train_per_class 1 -> 2 (pipeline.yaml:2)",
    ];
    assert_eq!(status(&ws, &[])[..3], [&format!("a5 will run {}", fields[0]), fields[1], fields[2]]);
    // What could not be computed anew is told the same, although the newest run has the stage under its new name.
    ws.run_with(&["--keep-going"]).failed(["b"]);
    ws.write("pipeline.yaml", &renamed);
    let input = format!("input x changed: {}", fields.join("; "));
    assert_eq!(status(&ws, &[])[1], format!("b will run {input}"));
    // A stage that not all of them read took nobody's place.
    let ws = Workspace::new(pipeline);
    ws.run().ran(["a", "b", "c"]);
    let a6 = format!("  a6: {{ {} }}\n", far.replace("seed: 4", "seed: 5"));
    ws.write("pipeline.yaml", renamed.replace("x: a5 }, with: { run: wc", "x: a6 }, with: { run: wc") + &a6);
    let told = status(&ws, &[]);
    assert!(told.contains(&"a5 will run first run".to_owned()), "{told:#?}");
    assert!(told.contains(&"a6 will run first run".to_owned()), "{told:#?}");
    let ran = ws.run().ran(["a5", "a6", "b", "c"]);
    assert_eq!(ran.reasons("b"), ["input x: a.file -> a6.file (pipeline.yaml:3)"]);
}

#[test]
fn renamed_stages_are_told_apart_by_the_ports_that_they_read() {
    let root = |name: &str, text: &str| {
        format!("  {name}: {{ uses: command, with: {{ run: echo root {text} > o, outs: {{ o: o }} }} }}\n")
    };
    let child = |name: &str, source: &str, text: &str| {
        let run = format!("run: echo child {text} > o");
        format!("  {name}: {{ uses: command, in: {{ x: {source} }}, with: {{ {run}, outs: {{ o: o }} }} }}\n")
    };
    let ws = Workspace::new(&format!("stages:\n{}{}", root("s0", "1"), child("s1", "s0", "1")));
    ws.run().ran(["s0", "s1"]);
    ws.write("pipeline.yaml", format!("stages:\n{}{}", child("t1", "t0", "2"), root("t0", "2")));
    assert_eq!(
        status(&ws, &[])[..3],
        [
            "t0 will run t0.run \"echo root 1 > o\" -> \"echo root 2 > o\" (pipeline.yaml:3)",
            "t1 will run t1.run \"echo child 1 > o\" -> \"echo child 2 > o\" (pipeline.yaml:2)",
            "depends on t0",
        ]
    );
}

#[test]
fn a_renamed_stage_that_failed_keeps_its_reason_although_its_input_is_another_by_now() {
    let pipeline = "stages:
  a: { uses: command, with: { run: echo a > o, outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { run: cp in/x o, outs: { o: o } } }
";
    let ws = Workspace::new(pipeline);
    ws.run().ran(["a", "b"]);
    ws.write(
        "pipeline.yaml",
        pipeline.replace("echo a", "echo aa").replace("b:", "c:").replace("cp in/x o", "exit 3"),
    );
    let edited = "c.run \"cp in/x o\" -> \"exit 3\" (pipeline.yaml:3)";
    assert_eq!(status(&ws, &[])[1..3], [&format!("c will run {edited}"), "depends on a"]);
    ws.run().failed(["c"]);
    let input = "input x changed: a.run \"echo a > o\" -> \"echo aa > o\" (pipeline.yaml:2)";
    let told = [&format!("c will run {input}"), edited];
    assert_eq!(status(&ws, &[])[1..3], told);
    ws.run().failed(["c"]);
    assert_eq!(status(&ws, &[])[1..3], told);
}

#[test]
fn many_renamed_stages_are_told_apart_by_the_files_that_they_read() {
    let stage = |name: &str, file: usize, run: &str| {
        format!(
            "  {name}{file}: {{ uses: command, with: {{ run: {run} f{file} > o, outs: {{ o: o }}, deps: [f{file}] }} }}\n"
        )
    };
    let stages = |name: &str, run: &str| (0..20).map(|file| stage(name, file, run)).collect::<String>();
    let ws = Workspace::new(&format!("stages:\n{}", stages("a", "head -c 9")));
    for file in 0..20u8 {
        ws.write(&format!("f{file}"), [file; 16]);
    }
    assert_eq!(ws.call(&["run", "pipeline.yaml"]).code, Some(0));
    ws.write("pipeline.yaml", format!("stages:\n{}", stages("b", "tail -c 9")));
    let told = status(&ws, &[]);
    for (line, stage) in told[..20].iter().zip(2..) {
        assert!(line.contains(&format!("(pipeline.yaml:{stage})")), "{told:#?}");
    }
}

#[test]
fn a_renamed_pipeline_is_compared_with_its_former_self() {
    let pipeline = "name: old
stages:
  a: { uses: command, with: { run: echo a > o, outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { run: cp in/x o, outs: { o: o } } }
  c: { uses: command, in: { x: b }, with: { run: cat in/x in/x > o, outs: { o: o } } }
";
    let ws = Workspace::new(pipeline);
    ws.run().ran(["a", "b", "c"]);
    ws.write("pipeline.yaml", pipeline.replace("name: old", "name: new").replace("echo a", "echo b"));
    let edited = "a.run \"echo a > o\" -> \"echo b > o\" (pipeline.yaml:3)";
    assert_eq!(
        status(&ws, &[])[..4],
        [
            &format!("a will run {edited}"),
            "compared with the results of old, as this pipeline never ran",
            "b will run depends on a",
            "c will run depends on b",
        ]
    );
    assert_eq!(ws.run().ran(["a", "b", "c"]).reasons("c"), [format!("input x changed: {edited}")]);
    // Nor is it forgotten by a failure.
    let third = pipeline.replace("name: old", "name: third").replace("echo a", "echo b");
    ws.write(
        "pipeline.yaml",
        third.replace("in: { x: b }, with: { run: cat in/x in/x > o", "in: { x: b }, with: { run: exit 3"),
    );
    ws.run().failed(["c"]);
    let edited = "c.run \"cat in/x in/x > o\" -> \"exit 3\" (pipeline.yaml:5)";
    assert_eq!(status(&ws, &[])[2], format!("c will run {edited}"));
    // What only happens to lie in the same store was never the same.
    ws.write("pipeline.yaml", "name: other\nstages:\n  a: { uses: command, with: { run: \"true\" } }\n");
    assert_eq!(status(&ws, &[])[0], "a will run first run");
}

#[test]
fn a_stage_that_is_read_in_place_of_one_that_is_gone_did_not_make_other_bytes() {
    let ws = Workspace::new(
        "stages:
  a: { uses: command, with: { run: echo a > o, outs: { o: o } } }
  b: { uses: command, with: { run: [sh, -c, echo bb > o], outs: { o: o } } }
  c: { uses: command, in: { x: a }, with: { run: cat in/x > o, outs: { o: o } } }
",
    );
    ws.run().ran(["a", "b", "c"]);
    edit(&ws, "  a: { uses: command, with: { run: echo a > o, outs: { o: o } } }\n", "");
    edit(&ws, "{ x: a }", "{ x: b }");
    assert_eq!(status(&ws, &[])[1], "c will run input x: a.o -> b.o (pipeline.yaml:3)");
}

#[test]
fn a_cause_is_found_although_what_was_read_has_been_overwritten_since() {
    let ws = Workspace::new(
        "stages:
  a: { uses: command, with: { run: date +%N > o, outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { run: cat in/x > o, outs: { o: o } } }
",
    );
    ws.run().ran(["a", "b"]);
    ws.run_with(&["--force", "a", "--stage", "a"]).ran(["a"]);
    assert_eq!(status(&ws, &[])[1], "b will run input x changed: a made other bytes from the same inputs");
    edit(&ws, "date +%N", "echo a");
    ws.run_with(&["--stage", "a"]).ran(["a"]);
    assert_eq!(
        status(&ws, &[])[1],
        "b will run input x changed: a.run \"date +%N > o\" -> \"echo a > o\" (pipeline.yaml:2)"
    );
}

#[test]
fn a_field_has_one_former_value_by_whichever_way_it_is_found() {
    let ws = Workspace::new(
        "stages:
  a: { uses: command, with: { run: echo 1 > o; echo 1 > p, outs: { o: o, p: p } } }
  b: { uses: command, in: { x: a.o }, with: { run: cp in/x o, outs: { o: o } } }
  c: { uses: command, in: { x: a.p, y: b }, with: { run: cat in/x in/y > o, outs: { o: o } } }
",
    );
    ws.run().ran(["a", "b", "c"]);
    // The result of `b` is the former one, so that the newest run that has it is not the one that `c` read it in.
    edit(&ws, "echo 1 > p", "echo 2 > p");
    edit(&ws, "cat in/x in/y", "exit 1");
    ws.run().reused(["b"]).failed(["c"]);
    edit(&ws, "echo 1 > o", "echo 3 > o");
    ws.run().failed(["c"]);
    edit(&ws, "exit 1", "cat in/x in/y");
    let field = "a.run \"echo 1 > o; echo 1 > p\" -> \"echo 3 > o; echo 2 > p\" (pipeline.yaml:2)";
    let told = [
        &format!("c will run input x changed: {field}"),
        &format!("input y changed: {field}"),
        "failed last time: `exit 1 > o`: exit status: 1",
    ];
    assert_eq!(status(&ws, &[])[2..5], told);
}

#[test]
fn entries_that_the_user_names_are_told_one_by_one() {
    let ws = Workspace::new(
        "stages:
  a:
    uses: command
    with:
      run: echo a > o; echo b > p
      outs: { o: o }
      env: [STLPIPE_TEST_A]
  b: { uses: command, in: { x: a.o }, with: { run: cp in/x o, outs: { o: o } } }
",
    );
    ws.run().ran(["a", "b"]);
    edit(&ws, "      env: [STLPIPE_TEST_A]\n", "");
    assert_eq!(status(&ws, &[])[0], "a will run a.env.STLPIPE_TEST_A removed, was null (pipeline.yaml:4)");
    edit(&ws, "outs: { o: o }\n  b", "outs: { o: o }\n      env: [STLPIPE_TEST_B]\n  b");
    assert_eq!(
        status(&ws, &[])[..2],
        [
            "a will run a.env.STLPIPE_TEST_A -> a.env.STLPIPE_TEST_B (pipeline.yaml:7)",
            "b will run depends on a"
        ]
    );
    edit(&ws, "env: [STLPIPE_TEST_B]", "env: [STLPIPE_TEST_A]");
    edit(&ws, "outs: { o: o }\n      env", "outs: { text: o }\n      env");
    edit(&ws, "a.o", "a.text");
    assert_eq!(status(&ws, &[])[0], "a will run a.outs.o -> a.outs.text (pipeline.yaml:6)");
    // The same bytes under another name.
    ws.run().ran(["a"]).reused(["b"]);
    edit(&ws, "outs: { text: o }", "outs: { text: p, o: o }");
    assert_eq!(
        status(&ws, &[])[..2],
        [
            "a will run a.outs.o added: \"o\" (pipeline.yaml:6)",
            "a.outs.text \"o\" -> \"p\" (pipeline.yaml:6)"
        ]
    );
    ws.run().ran(["a", "b"]);
    edit(&ws, "outs: { text: p, o: o }", "outs: {}");
    edit(&ws, "  b: { uses: command, in: { x: a.text },", "  b: { uses: command,");
    assert_eq!(
        status(&ws, &[])[..2],
        [
            "a will run a.outs.o removed, was \"o\" (pipeline.yaml:6)",
            "a.outs.text removed, was \"p\" (pipeline.yaml:6)"
        ]
    );
}
