//! The files outside the store that stages read: which parameter names one, and which of them cannot be read. What
//! they hold is not looked at here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::Experiment;
use super::stage::Stage;
use crate::pipeline::{Draft, Place, StageId, StageName};

/// Reports what the selected stages read and cannot be read, as problems of the parameters that name it. What is missing
/// below `made`, where links to results are, is no problem yet: another pipeline or stage may make it first.
pub fn reject_unreadable_files(
    draft: &mut Draft<Box<dyn Stage>>,
    selection: &BTreeSet<StageId>,
    made: &Path,
) {
    let made = std::path::absolute(made).unwrap_or_else(|_| made.to_owned());
    let may_come = |path: &Path| std::path::absolute(path).is_ok_and(|path| path.starts_with(&made));
    let mut unreadable = Vec::new();
    let is_selected = |name: &StageName| draft.id(name.as_str()).is_some_and(|id| selection.contains(&id));
    for decl in draft.readable().iter().filter(|decl| !decl.stage.is_closed() && is_selected(&decl.name)) {
        for path in decl.stage.identity().files.into_values().filter(|path| !may_come(path)) {
            if let Some(what) = fault(&path) {
                let param = param_naming(&decl.stage.origins(), &path).unwrap_or_default();
                unreadable.push((decl.name.clone(), param, path, what));
            }
        }
    }
    for (stage, param, path, what) in unreadable {
        let steps: Vec<&str> = param.iter().map(String::as_str).collect();
        let message = format!("stage `{stage}` reads `{}`, {what}", path.display());
        let problem = draft.reject_param(&stage, &steps, message);
        if path.is_relative() {
            problem.note("a relative path counts from the directory you run in");
        }
    }
}

impl Experiment {
    /// Where the parameter stands that names a file.
    pub(super) fn place_of_file(&self, id: StageId, path: &Path) -> Option<Place> {
        let decl = self.pipeline.stage(id);
        let param = param_naming(&decl.stage.origins(), path)?;
        self.pipeline.place(&decl.name, &param.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Why a path is no file that can be read.
fn fault(path: &Path) -> Option<String> {
    // Without opening it: whoever opens a pipe waits for another.
    let metadata = std::fs::metadata(path);
    match metadata
        .and_then(|metadata| if metadata.is_file() { File::open(path)?.metadata() } else { Ok(metadata) })
    {
        Ok(metadata) if metadata.is_dir() && path.is_symlink() => {
            Some(format!("and that {}", folder_link(path)))
        }
        Ok(metadata) if metadata.is_dir() => Some("and that is a directory".to_owned()),
        Ok(metadata) if !metadata.is_file() => Some("and that is no plain file".to_owned()),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(match path.read_link() {
            Ok(target) => format!("and that is a link to `{}`, which is not there", target.display()),
            Err(_) => "and there is no such file".to_owned(),
        }),
        Err(error) => Some(format!("which cannot be read: {error}")),
    }
}

/// What a link to a directory is, where a file should be.
fn folder_link(path: &Path) -> &'static str {
    let above = path.parent().and_then(|above| above.canonicalize().ok());
    let target = path.canonicalize().ok();
    if above.zip(target).is_some_and(|(above, target)| above.starts_with(target)) {
        "is a link to a folder that it lies in"
    } else {
        "is a link to a directory"
    }
}

/// The way to the parameter, of those that name files, which names a file or a folder above it.
pub(super) fn param_naming(params: &BTreeMap<String, Value>, path: &Path) -> Option<Vec<String>> {
    let names = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty() && path.starts_with(text));
    params.iter().find_map(|(name, value)| match value {
        Value::Array(items) => {
            let position = items.iter().position(names)?;
            Some(vec![name.clone(), position.to_string()])
        }
        // An address may spell the path otherwise.
        _ => Some(vec![name.clone()]),
    })
}
