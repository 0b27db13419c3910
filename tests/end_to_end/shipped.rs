//! The pipelines that come with the program.

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")
}

#[test]
fn every_shipped_pipeline_is_right_and_names_the_schema() {
    let ws = Workspace::new("");
    let mut count = 0;
    for entry in fs::read_dir(pipelines()).expect("they are there") {
        let path = entry.expect("they are there").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = fs::read_to_string(&path).expect("readable");
            assert!(text.starts_with("# yaml-language-server: $schema=schema.json\n"), "{}", path.display());
            ws.call(&["status", path.to_str().expect("UTF-8")]).succeeds().says(["first run"]);
            count += 1;
        }
    }
    assert_eq!(count, 8);
}

#[test]
fn the_schema_beside_the_pipelines_is_the_programs_own() {
    let said = Workspace::new("").call(&["schema"]).succeeds();
    let file = fs::read_to_string(pipelines().join("schema.json")).expect("it is there");
    assert!(said.out == file, "write it anew: stlpipe schema > pipelines/schema.json");
}
