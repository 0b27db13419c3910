//! Edits that change no plain value: of where something comes from, of names, and of entries. What they are called, and
//! that they are not taken for others.

use crate::reasons::{edit, status};
use crate::workspace::Workspace;

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
    assert_eq!(status(&ws, &[])[0], "a will run a.env.STLPIPE_TEST_A removed, was null");
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
