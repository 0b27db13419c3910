//! A large pipeline with nothing to do is answered from memory, in the same words as by the planner, and only as long
//! as nothing has changed.

use std::fs;

use crate::workspace::Workspace;

/// So many stages that answers are remembered: a chain of commands that each add a line.
fn large() -> Workspace {
    let mut text = String::from(
        "name: large\nstages:\n  s0: { uses: command, with: { run: echo 0 > out, outs: { out: out } } }\n",
    );
    for stage in 1..100 {
        let input = stage - 1;
        let run = format!("cat in/before > out; echo {stage} >> out");
        text += &format!(
            "  s{stage}: {{ uses: command, in: {{ before: s{input} }}, with: {{ run: \"{run}\", outs: {{ out: out }} }} }}\n"
        );
    }
    Workspace::new(&text)
}

fn remembered(ws: &Workspace) -> usize {
    ws.count_files("cache/answers")
}

#[test]
fn memory_and_planner_say_the_same() {
    let ws = large();
    ws.call(&["run", "pipeline.yaml"]).succeeds();
    assert_eq!(remembered(&ws), 1);
    for words in [
        &["status", "pipeline.yaml"][..],
        &["status", "pipeline.yaml", "--json"],
        &["run", "pipeline.yaml", "--dry-run"],
    ] {
        let by_memory = ws.call(words).succeeds().out;
        fs::remove_dir_all(ws.path("cache/answers")).expect("there");
        assert_eq!(ws.call(words).succeeds().out, by_memory, "{words:?}");
        ws.call(&["run", "pipeline.yaml"]).succeeds().says(["nothing to do: all 100 stages are up to date"]);
        assert_eq!(remembered(&ws), 1, "{words:?}");
    }
    let events = |ws: &Workspace| {
        let mut events = ws.run().events;
        events.pop();
        events.sort_by_key(|event| event["stage"].to_string());
        events
    };
    let by_memory = events(&ws);
    fs::remove_dir_all(ws.path("cache/answers")).expect("there");
    assert_eq!(events(&ws), by_memory);
}

#[test]
fn whatever_changes_is_noticed() {
    let mut ws = large();
    ws.call(&["run", "pipeline.yaml"]).succeeds();
    let up_to_date = |ws: &Workspace| {
        ws.call(&["run", "pipeline.yaml"]).succeeds().says(["all 100 stages are up to date"])
    };
    up_to_date(&ws);
    // The pipeline.
    let text = ws.read("pipeline.yaml");
    ws.write("pipeline.yaml", text.replace("echo 99 ", "echo 100 "));
    ws.run().ran(["s99"]);
    ws.write("pipeline.yaml", &text);
    let said = ws.call(&["status", "pipeline.yaml"]).succeeds();
    assert!(said.out.contains("nothing to do"), "{said:#?}");
    ws.run().ran([]);
    // A setting, and back: the log must say which came last.
    ws.set("s99.run", "echo other > out");
    ws.run().ran(["s99"]);
    ws.set("s99.run", "echo third > out");
    let reason = ws.run().ran(["s99"]);
    assert!(reason.reasons("s99")[0].contains("echo other > out"), "{reason:#?}");
    let ws = large();
    ws.call(&["run", "pipeline.yaml"]).succeeds();
    // A blob that is gone, one with other bytes, and a record.
    let blob = |ws: &Workspace| fs::canonicalize(ws.path("data/large/s42/out")).expect("linked");
    fs::remove_file(blob(&ws)).expect("there");
    ws.run().ran(["s42"]);
    let place = blob(&ws);
    let bytes = fs::read(&place).expect("there");
    fs::remove_file(&place).expect("there");
    fs::write(&place, vec![b'x'; bytes.len()]).expect("written");
    ws.run().ran(["s42"]);
    let record = ws.files("cache/records").pop().expect("there");
    fs::remove_file(record).expect("there");
    let ran = ws.run();
    let summary = ran.events.last().expect("a summary");
    assert_eq!(summary["ran"].as_array().map(Vec::len), Some(1), "{ran:#?}");
    // A link is made anew.
    fs::remove_file(ws.path("data/large/s7/out")).expect("there");
    ws.run().ran([]);
    assert!(ws.path("data/large/s7/out").exists());
}
