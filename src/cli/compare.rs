//! `stlpipe compare`: the parameters and metrics in which runs differ, side by side, out of the records that they
//! ended with. Nothing is computed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::cache::Folder;
use super::exit::Failure;
use super::runs::{Run, find, logged, unfinished};
use super::words::{figure, table};
use crate::engine::KeyParts;
use crate::store::Store;

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Runs as `stlpipe runs` names them, such as `ver_2_3~1`; a pipeline's name or file is its newest run.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<String>,
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn compare(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let store = args.folder.store()?;
    let all = logged(&store)?;
    let runs = args.runs.iter().map(|text| find(&all, text)).collect::<Result<Vec<&Run>, Failure>>()?;
    let sides: Vec<Side> = runs.iter().map(|run| Side::of(run, &store)).collect();
    let params = differing(&sides.iter().map(|side| &side.params).collect::<Vec<_>>());
    let metrics = differing(&sides.iter().map(|side| &side.metrics).collect::<Vec<_>>());
    if args.json {
        let names: Vec<String> = runs.iter().map(|run| run.name()).collect();
        writeln!(out, "{:#}", json!({"runs": names, "params": params, "metrics": metrics}))?;
        return Ok(ExitCode::SUCCESS);
    }
    if params.is_empty() && metrics.is_empty() {
        writeln!(out, "nothing differs")?;
        return Ok(ExitCode::SUCCESS);
    }
    let titles = runs.iter().map(|run| {
        let name = run.name();
        unfinished(&run.log).map_or(name.clone(), |stages| format!("{name} {stages}"))
    });
    let mut rows = vec![std::iter::once(String::new()).chain(titles).collect()];
    for (name, values) in params.iter().chain(&metrics) {
        let cells = values.iter().map(|value| match value {
            Value::Null => "-".to_owned(),
            Value::Number(number) if metrics.contains_key(name) => {
                figure(number.as_f64().unwrap_or_default())
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        rows.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    write!(out, "{}", table(&rows))?;
    Ok(ExitCode::SUCCESS)
}

/// What there is to compare of a run, by stage and name.
struct Side {
    params: BTreeMap<String, Value>,
    metrics: BTreeMap<String, Value>,
}

impl Side {
    fn of(run: &Run, store: &Store) -> Side {
        let (mut params, mut metrics) = (BTreeMap::new(), BTreeMap::new());
        for (stage, entry) in run.log.own() {
            let Some(record) = store.record(&entry.key) else { continue };
            let parts: Option<KeyParts> = record.identity.read().ok();
            for (path, value) in parts.iter().flat_map(KeyParts::leaves) {
                let name = match path.as_slice() {
                    [params, rest @ ..] if params == "params" => rest.join("."),
                    [single] if single == "kind" || single == "device" => single.clone(),
                    // What comes from other stages is told there.
                    _ => continue,
                };
                let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
                params.insert(format!("{stage}.{name}"), value);
            }
            metrics.extend(record.metrics.iter().map(|(name, v)| (format!("{stage}.{name}"), json!(v))));
            metrics.insert(format!("{stage}.seconds"), json!(record.seconds));
        }
        Side { params, metrics }
    }
}

/// The values of all sides under the names in which they differ; null where one has none.
fn differing(sides: &[&BTreeMap<String, Value>]) -> BTreeMap<String, Vec<Value>> {
    let names: BTreeSet<&String> = sides.iter().flat_map(|side| side.keys()).collect();
    let values = |name: &String| -> Vec<Value> {
        sides.iter().map(|side| side.get(name).cloned().unwrap_or_default()).collect()
    };
    let all = names.into_iter().map(|name| (name.clone(), values(name)));
    all.filter(|(_, values)| values.iter().any(|value| *value != values[0])).collect()
}
