//! `stlpipe cache gc`: lists what nobody needs, and moves it to the trash on request.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::words::{age, bytes, count, counted, metrics, span, table};
use super::{Failure, Folder, kind};
use crate::store::{Best, Bin, Collection, Item, Rules, Store, What};

/// Arguments of `cache gc`.
///
/// Without rules all logged runs stay, and only what no run needs is listed: files of no result, damaged files, and
/// what interrupted runs left more than seven days ago (or as --older-than says). With any rule runs go as well: a run
/// goes only if no rule keeps it, and a result only if no run that stays ended with it. The newest run of every
/// pipeline stays, unless --keep-runs 0 is given. Whatever a living run has looked up stays.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Keep the newest N runs of each pipeline that ended with different results [default: 1 if any rule is given].
    #[arg(long, value_name = "N")]
    keep_runs: Option<usize>,
    /// Keep the N best runs of each pipeline by --metric.
    #[arg(long, value_name = "N", requires = "metric")]
    keep_best: Option<usize>,
    /// The figure that --keep-best compares, as NAME or STAGE.NAME; of losses and errors less is better, of
    /// everything else more. If several stages of a run have it, the best of them counts.
    #[arg(long, value_name = "METRIC", requires = "keep_best")]
    metric: Option<String>,
    /// Let only go what is older, such as 30d, 12h, 45min or 2w.
    #[arg(long, value_name = "AGE", value_parser = read_span)]
    older_than: Option<Duration>,
    /// Let runs go, oldest first, only until the store without its trash is no larger, such as 20GB or 512MiB.
    #[arg(long, value_name = "SIZE", value_parser = read_size)]
    max_size: Option<u64>,
    /// Move what is listed to the trash, from where `cache restore` brings it back; otherwise it is only listed.
    #[arg(long)]
    delete: bool,
    /// With --delete: delete from the trash what has been there for that long; 0 frees the space at once.
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = read_span, requires = "delete")]
    grace: Duration,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn gc(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let store = args.folder.store()?;
    let rules = rules(args, &store)?;
    let (collection, bin, emptied) = if args.delete {
        let swept =
            store.sweep(&rules, args.grace, |collection| collection.items.iter().map(line).collect())?;
        (swept.collection, swept.bin, swept.emptied)
    } else {
        let grown_old = |bin: &Bin| age_of(bin) >= args.grace;
        let emptied = store.bins()?.into_iter().filter(grown_old).collect();
        (store.collect(&rules)?, None, emptied)
    };
    if args.json {
        writeln!(out, "{:#}", to_json(&collection, args.delete, bin.as_deref(), &emptied))?;
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "{}", to_text(args, &rules, &collection, bin.as_deref(), &emptied))?;
    Ok(ExitCode::SUCCESS)
}

fn rules(args: &Args, store: &Store) -> Result<Rules, Failure> {
    let best = args.keep_best.zip(args.metric.as_ref()).map(|(runs, metric)| {
        let (stage, metric) =
            metric.split_once('.').map_or((None, metric.as_str()), |(s, m)| (Some(s.to_owned()), m));
        Best { runs, stage, metric: metric.to_owned() }
    });
    if let Some(best) = &best {
        let records = store.records()?;
        let known: BTreeSet<&String> = records.iter().flat_map(|record| record.metrics.keys()).collect();
        if !known.contains(&best.metric) {
            let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
            let metric = &best.metric;
            let has = if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            return Err(Failure::Usage(format!("--metric {metric}: no result has such a figure; {has}")));
        }
    }
    Ok(Rules {
        keep_runs: args.keep_runs,
        keep_best: best,
        older_than: args.older_than,
        max_bytes: args.max_size,
    })
}

fn to_text(args: &Args, rules: &Rules, found: &Collection, bin: Option<&str>, emptied: &[Bin]) -> String {
    let mut text = String::new();
    if !found.items.is_empty() {
        let header = ["PIPELINE", "STAGE", "AGE", "METRICS", "SIZE"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(found.items.iter().map(row)).collect();
        text.push_str(&format!("{}\n", table(&rows)));
    }
    let freed = bytes(found.bytes);
    if rules.let_runs_go() {
        let all = count(found.runs + found.kept_runs, "run");
        text.push_str(&format!("keeps {} of {all}", found.kept_runs));
        if rules.keep_runs.is_none() {
            text.push_str("; the newest of each pipeline is among them (--keep-runs 0 lets it go)");
        }
        text.push('\n');
        if let Some(best) = &rules.keep_best {
            let better = if best.is_least() { "less" } else { "more" };
            text.push_str(&format!("of {} {better} is better\n", best.metric));
        }
    }
    for run in &found.living {
        let whose = if run.pid == 0 {
            "an unknown run".to_owned()
        } else {
            format!("{} (process {})", run.pipeline, run.pid)
        };
        text.push_str(&format!("{whose} is running: whatever it needs stays\n"));
    }
    if let Some(room) = rules.max_bytes.filter(|room| found.left > *room) {
        text.push_str(&format!(
            "what stays is {}, more than {}: other rules or living runs keep it\n",
            bytes(found.left),
            bytes(room)
        ));
    }
    let old: u64 = emptied.iter().map(|bin| bin.bytes).sum();
    if !emptied.is_empty() {
        let done = if args.delete {
            "deleted from the trash"
        } else {
            "in the trash for longer than the grace period; --delete deletes it"
        };
        text.push_str(&format!("{} {done}\n", bytes(old)));
    }
    let gone_at_once = bin.is_some_and(|bin| emptied.iter().any(|emptied| emptied.id == bin));
    text.push_str(&match (found.items.is_empty(), args.delete, bin) {
        (true, ..) => "nothing to collect\n".to_owned(),
        (_, false, _) => {
            format!("{freed} would be freed; nothing was changed, --delete moves it to the trash\n")
        }
        (_, true, Some(_)) if gone_at_once => format!("{freed} freed\n"),
        (_, true, Some(bin)) => format!(
            "{freed} moved to the trash for {}; `stlpipe cache restore {bin}` brings it back\n",
            span(args.grace.as_secs())
        ),
        (_, true, None) => format!("{freed} freed\n"),
    });
    text
}

fn row(item: &Item) -> Vec<String> {
    let joined =
        |names: BTreeSet<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let pipelines = joined(item.owners.iter().map(|owner| &owner.pipeline).collect());
    let stages = joined(item.owners.iter().map(|owner| &owner.stage).collect());
    let (stage, figures) = match &item.what {
        What::Result(record) if stages.is_empty() => {
            (format!("a {} of no run", kind(record)), metrics(&record.metrics))
        }
        What::Result(record) => (stages, metrics(&record.metrics)),
        What::Chain(_) => ("left by interrupted runs".to_owned(), String::new()),
        What::Partial(_) => (
            if stages.is_empty() { "partial data".to_owned() } else { format!("{stages} (partial)") },
            String::new(),
        ),
        What::Files(n, what) => (files(*n, what), String::new()),
    };
    let pipelines = if pipelines.is_empty() { "-".to_owned() } else { pipelines };
    vec![pipelines, stage, age(item.made), figures, bytes(item.bytes)]
}

/// `1 damaged file`, `2 logs of runs`.
fn files(n: usize, what: &str) -> String {
    match what {
        "what failures left" => format!("left by {}", count(n, "failure")),
        plural => counted(n, plural),
    }
}

/// A row as a line of the trash's list.
fn line(item: &Item) -> String {
    row(item).join("  ")
}

fn to_json(found: &Collection, deleted: bool, bin: Option<&str>, emptied: &[Bin]) -> Value {
    let item = |item: &Item| {
        let record = match &item.what {
            What::Result(record) => Some(record),
            What::Chain(_) | What::Partial(_) | What::Files(..) => None,
        };
        let what = match &item.what {
            What::Result(record) => kind(record),
            What::Chain(_) => "chain",
            What::Partial(_) => "partial",
            What::Files(_, what) => what,
        };
        json!({
            "what": what,
            "stages": item.owners,
            "key": record.map(|record| record.key),
            "metrics": record.map(|record| &record.metrics),
            "made": item.made,
            "bytes": item.bytes,
        })
    };
    json!({
        "items": found.items.iter().map(item).collect::<Vec<_>>(),
        "bytes": found.bytes,
        "left": found.left,
        "runs": found.runs,
        "kept_runs": found.kept_runs,
        "living": found.living,
        "deleted": deleted,
        "trash": bin,
        "emptied": emptied.iter().map(|bin| &bin.id).collect::<Vec<_>>(),
    })
}

fn age_of(bin: &Bin) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_secs(bin.made))
}

fn read_span(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "" if number == 0.0 => 0.0,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return Err("write a number with s, min, h, d or w, such as 30d".to_owned()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

fn read_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" if number == 0.0 => 1,
        "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err("write a number with B, kB, MB, GB, KiB, MiB or GiB, such as 20GB".to_owned()),
    };
    Ok((number * factor as f64) as u64)
}

fn split(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse().map_err(|_| "has to start with a number".to_owned())?;
    Ok((number, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read_with_their_units() {
        assert_eq!(read_span("30d"), Ok(Duration::from_secs(2_592_000)));
        assert_eq!(read_span("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(read_span("0"), Ok(Duration::ZERO));
        assert!(read_span("30").is_err() && read_span("d").is_err() && read_span("-1d").is_err());
        assert_eq!(read_size("20GB"), Ok(20_000_000_000));
        assert_eq!(read_size("1.5 MiB"), Ok(1_572_864));
        assert_eq!([read_size("0"), read_size("17 B")], [Ok(0), Ok(17)]);
        assert!(read_size("17").is_err_and(|told| told.contains("such as 20GB")));
        assert!(read_size("20 XB").is_err());
    }
}
