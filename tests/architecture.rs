//! Holds the source to its own rules: who may use whom, a header on every file, no file too long to read,
//! and nobody but the command line prints. ARCHITECTURE.md says why.

use std::fs;
use std::path::{Path, PathBuf};

/// Each folder of `src/` and the folders it may use; `cli` may use everything, and nobody uses `cli`.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("pipeline", &[]),
    ("store", &[]),
    ("dataset", &[]),
    ("graph", &["pipeline"]),
    ("augment", &["dataset"]),
    ("nn", &["dataset"]),
    ("training", &["nn", "augment", "dataset"]),
    ("engine", &["graph", "pipeline", "store"]),
    // Of the engine only the port; the port hands on the language's words for parameters.
    ("stages", &["engine", "pipeline", "dataset", "augment", "nn", "training"]),
];

const LONGEST_FILE: usize = 400;

struct Source {
    path: PathBuf,
    folder: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inside = path.strip_prefix(&root).expect("it is inside");
                let folder = inside.components().next().expect("it has a name").as_os_str().to_string_lossy();
                let text = fs::read_to_string(&path).expect("sources are text");
                sources.push(Source { folder: folder.into_owned(), path, text });
            }
        }
    }
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// The lines of code, without comments and without the tests at the end of a file or in a file of their own.
fn code(source: &Source) -> impl Iterator<Item = &str> {
    let text = if source.path.ends_with("tests.rs") { "" } else { source.text.as_str() };
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default())
}

#[test]
fn folders_use_only_what_the_table_allows() {
    let mut offences = Vec::new();
    for source in &sources() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(folder, _)| *folder == source.folder) else {
            continue;
        };
        for line in code(source) {
            for used in line.split("crate::").skip(1) {
                let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = name == "cli" || MAY_USE.iter().any(|(folder, _)| *folder == name);
                if known && name != source.folder && !allowed.contains(&name.as_str()) {
                    offences.push(format!("{}: uses {name}", source.path.display()));
                }
            }
        }
    }
    assert_eq!(offences, Vec::<String>::new());
}

#[test]
fn stages_know_the_engine_by_its_port_alone() {
    for source in sources().iter().filter(|source| source.folder == "stages") {
        for line in code(source) {
            for used in line.split("crate::engine").skip(1) {
                assert!(used.starts_with("::stage"), "{}: {line}", source.path.display());
            }
        }
    }
}

#[test]
fn only_nn_imports_dfdx() {
    for source in sources().iter().filter(|source| source.folder != "nn") {
        assert!(!code(source).any(|line| line.contains("dfdx")), "{}", source.path.display());
    }
}

#[test]
fn only_cli_prints() {
    for source in sources().iter().filter(|source| source.folder != "cli") {
        let prints = |line: &str| ["print!(", "println!(", "dbg!("].iter().any(|word| line.contains(word));
        assert!(!code(source).any(prints), "{}", source.path.display());
    }
}

#[test]
fn every_file_says_what_it_is_and_none_is_too_long() {
    for Source { path, text, .. } in sources() {
        assert!(text.starts_with("//! "), "{}: has no header", path.display());
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{}: {lines} lines; split it by idea", path.display());
    }
}
