//! What the `command` stage promises, through its port to the engine.

use serde_json::{Value, json};

use super::KIND;
use crate::engine::stage::{ONLY_FILE, Refusal, Stage, StageError};
use crate::stages::test_job::TestJob;

fn command(params: &Value) -> Box<dyn Stage> {
    (KIND.read)(params).expect("the parameters are right")
}

fn failure(params: &Value) -> String {
    match command(params).run(&TestJob::new()) {
        Err(StageError::Failed(error)) => error.to_string(),
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[test]
fn a_line_turns_inputs_into_declared_outputs() {
    let job = TestJob::new()
        .with_file("left-side", b"left")
        .with_directory("right", &[("a", b"1"), ("sub/b", b"2")]);
    command(&json!({
        "run": "cat in/left-side in/right/a in/right/sub/b > all; cat $STLPIPE_IN_LEFT_SIDE; mkdir -p d/e; cp all d/e/f",
        "outs": { "all": "all", "tree": "d/" },
    }))
    .run(&job)
    .expect("it runs");
    assert_eq!(job.bytes("all", ONLY_FILE), b"left12");
    assert_eq!(job.bytes("tree", "e/f"), b"left12");
    assert_eq!(job.log_lines(), ["left"]);
}

#[test]
fn a_list_is_run_without_a_shell() {
    let job = TestJob::new();
    command(&json!({ "run": ["cp", "/dev/null", "$HOME"], "outs": { "o": "$HOME" } }))
        .run(&job)
        .expect("it runs");
    assert_eq!(job.bytes("o", ONLY_FILE), b"");
}

#[test]
fn dependencies_are_copied_and_cannot_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (script, directory) = (folder.path().join("script.sh"), folder.path().join("lib"));
    std::fs::write(&script, "cat lib/x; echo changed > script.sh").expect("written");
    std::fs::create_dir(&directory).expect("made");
    std::fs::write(directory.join("x"), "from lib").expect("written");
    let stage = command(
        &json!({ "run": "sh script.sh > out; ls >&2", "deps": [script, directory], "outs": { "o": "out" } }),
    );
    assert_eq!(stage.identity().files.keys().collect::<Vec<_>>(), ["lib/x", "script.sh"]);
    let job = TestJob::new();
    stage.run(&job).expect("it runs");
    assert_eq!(job.bytes("o", ONLY_FILE), b"from lib");
    assert_eq!(job.log_lines(), ["lib", "out", "script.sh"]);
    assert!(std::fs::read_to_string(&script).expect("there").starts_with("cat"));
}

#[test]
fn only_the_declared_environment_is_seen() {
    let job = TestJob::new();
    let params =
        json!({ "run": "echo ${CARGO_PKG_NAME-none} ${CARGO_PKG_VERSION-none}", "env": ["CARGO_PKG_NAME"] });
    let stage = command(&params);
    stage.run(&job).expect("it runs");
    assert_eq!(job.log_lines(), ["stlpipe none"]);
    assert_eq!(stage.identity().params["env"], json!({ "CARGO_PKG_NAME": "stlpipe" }));
}

#[test]
fn the_time_limit_does_not_count_for_the_result() {
    let with = command(&json!({ "run": "true", "timeout": 5 }));
    assert_eq!(with.identity(), command(&json!({ "run": "true" })).identity());
}

#[test]
fn a_failure_is_told_and_its_directory_is_kept() {
    let job = TestJob::new();
    let params = json!({ "run": "echo one; echo half > o; exit 3", "outs": { "o": "o" } });
    let Err(StageError::Failed(error)) = command(&params).run(&job) else { panic!("it must fail") };
    assert_eq!(error.to_string(), "`echo one; echo half > o; exit 3`: exit status: 3");
    assert_eq!(job.log_lines(), ["one"]);
    assert_eq!(std::fs::read_to_string(job.aside("directory").join("o")).expect("kept"), "half\n");
    assert_eq!(
        failure(&json!({ "run": "sleep 60", "timeout": 0.1 })),
        "`sleep 60`: took longer than 0.1 s and was ended"
    );
    assert!(
        failure(&json!({ "run": ["no-such-program"] })).starts_with("`no-such-program`: there is no program")
    );
}

#[test]
fn a_program_is_tried_again_in_a_new_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = folder.path().join("count");
    let run = |succeeds_at: u32, retries: u32| {
        std::fs::write(&count, "").expect("written");
        let job = TestJob::new();
        let line = format!(
            "echo x >> {0}; test ! -e o || exit 9; echo $(wc -l < {0}) > o; test $(wc -l < {0}) -ge {succeeds_at}",
            count.display()
        );
        let outcome = command(&json!({ "run": line, "outs": { "o": "o" }, "retries": retries })).run(&job);
        (outcome, job)
    };
    let (outcome, job) = run(3, 4);
    outcome.expect("the third attempt succeeds");
    assert_eq!(job.bytes("o", ONLY_FILE), b"3\n");
    let told = ["attempt 1 of 5 failed: exit status: 1", "attempt 2 of 5 failed: exit status: 1"];
    assert_eq!(job.log_lines(), told);
    let (outcome, _) = run(3, 1);
    let Err(StageError::Failed(error)) = outcome else { panic!("two attempts are not enough") };
    assert!(error.to_string().ends_with("exit status: 1 in the last of 2 attempts"), "{error}");
    let with = command(&json!({ "run": "true", "retries": 5 }));
    assert_eq!(with.identity(), command(&json!({ "run": "true" })).identity());
}

#[test]
fn outputs_that_are_not_as_declared_are_named() {
    for (run, path, said) in [
        ("true", "a", "the command made no `a`, which it declares as output `o`"),
        ("mkdir a", "a", "`a`, output `o`, is a directory; write `a/` to declare one"),
        ("touch a", "a/", "`a/`, output `o`, is no directory; leave out the last `/` to declare a file"),
        ("mkdir a", "a/", "`a/`, output `o`, is an empty directory"),
    ] {
        assert_eq!(failure(&json!({ "run": run, "outs": { "o": path } })), format!("`{run}`: {said}"));
    }
}

#[test]
fn an_interruption_ends_the_program() {
    let job = TestJob::new().interrupt_after(1);
    assert!(matches!(command(&json!({ "run": "sleep 60" })).run(&job), Err(StageError::Interrupted)));
}

#[test]
fn wrong_parameters_are_all_complained_about() {
    let params = json!({ "run": "", "outs": { "o": "../x" }, "deps": [".."], "env": ["A=B"], "timeout": 0 });
    let complaints = (KIND.read)(&params).err().expect("complaints").into_complaints();
    let places: Vec<_> = complaints.iter().map(|c| c.path.join(".")).collect();
    assert_eq!(places, ["run", "outs.o", "deps.0", "env.0", "timeout"]);
}

#[test]
fn an_output_that_names_nothing_is_one_mistake() {
    for nothing in ["", ".", "./"] {
        let params =
            json!({ "run": "true", "deps": ["a"], "outs": { "r": nothing, "s": "x", "t": nothing } });
        let complaints = (KIND.read)(&params).err().expect("complaints").into_complaints();
        let told: Vec<_> = complaints.into_iter().map(|c| c.message).collect();
        assert_eq!(told, ["r", "t"].map(|port| format!("outs.{port}: names nothing in the clean directory")));
    }
}

#[test]
fn an_output_that_the_command_finds_there_is_refused() {
    let told = |outs: &str, deps: &[&str]| {
        let complaints = (KIND.read)(&json!({ "run": "true", "deps": deps, "outs": { "o": outs } }))
            .err()
            .map(Refusal::into_complaints);
        complaints.unwrap_or_default().into_iter().map(|c| c.message).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        told("a", &["b", "./a"]),
        "outs.o: `a` is there before the command begins, as one of its deps"
    );
    assert_eq!(
        told("./a.py", &["/else/where/a.py"]),
        "outs.o: `./a.py` is there before the command begins, as one of its deps"
    );
    assert_eq!(told("d/", &["d/a"]), "outs.o: `d/` is there before the command begins, as one of its deps");
    assert_eq!(told("in/x", &[]), "outs.o: `in/x` lies among the inputs of the stage");
    assert_eq!(told("./in/", &[]), "outs.o: `./in/` lies among the inputs of the stage");
    for (outs, deps) in [("a", "b"), ("d/new", "d"), ("inner/x", "b"), ("b/", "a/b")] {
        assert_eq!(told(outs, &[deps]), "");
    }
}

#[test]
fn what_was_copied_in_is_no_output_unless_the_command_has_written_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    std::fs::create_dir_all(model.join("out")).expect("made");
    std::fs::write(model.join("a"), "old").expect("written");
    std::fs::write(model.join("out/b"), "old").expect("written");
    let made = |run: &str, out: &str| {
        let job = TestJob::new();
        command(&json!({ "run": run, "deps": [model], "outs": { "o": out } })).run(&job).map(|()| job)
    };
    for out in ["model/a", "model/out/"] {
        let Err(StageError::Failed(error)) = made("true", out) else { panic!("nothing was made") };
        let told = format!("`true`: the command made no `{out}`, output `o`: it is as `deps` brought it in");
        assert_eq!(error.to_string(), told);
    }
    assert_eq!(made("printf new > model/a", "model/a").expect("made").bytes("o", ONLY_FILE), b"new");
    assert_eq!(made("printf old > model/a", "model/a").expect("made").bytes("o", ONLY_FILE), b"old");
    assert_eq!(made("mv model/out/b model/a", "model/a").expect("made").bytes("o", ONLY_FILE), b"old");
    let job = made("printf new > model/out/c", "model/out/").expect("made");
    assert_eq!((job.bytes("o", "b"), job.bytes("o", "c")), (b"old".to_vec(), b"new".to_vec()));
}

#[test]
fn an_output_has_a_name_that_can_be_one() {
    let complaints = (KIND.read)(&json!({ "run": "true", "outs": { "../x": "d/", "a b": "o" } }))
        .err()
        .map(Refusal::into_complaints);
    let told: Vec<_> = complaints.expect("complaints").into_iter().map(|c| c.message).collect();
    assert_eq!(told, ["outs: \"../x\" cannot name an output", "outs: \"a b\" cannot name an output"]);
}
