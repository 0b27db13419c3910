//! Numbers and lists as people read them: bytes, durations, ages, metrics, columns.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::Outlook;

/// `512 B`, `27.6 KiB`, `2.2 GiB`.
pub(super) fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

/// `4 ms`, `3.2 s`, `12 min 05 s`, `3 h 20 min`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 0.000_5 => "under 1 ms".to_owned(),
        _ if seconds < 0.0995 => format!("{:.0} ms", seconds * 1000.0),
        _ if seconds < 99.95 => format!("{seconds:.1} s"),
        ..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `under 1 s`, `about 73 s`, `about 12 min`, `about 3 h`: what nobody knows exactly.
pub(super) fn about(seconds: f64) -> String {
    match seconds {
        ..1.0 => "under 1 s".to_owned(),
        ..99.5 => format!("about {seconds:.0} s"),
        ..5400.0 => format!("about {:.0} min", seconds / 60.0),
        ..172_800.0 => format!("about {:.0} h", seconds / 3600.0),
        _ => format!("about {:.0} days", seconds / 86_400.0),
    }
}

/// What there is to say about a computation before it starts, besides its time.
pub(super) fn remarks(outlook: &Outlook) -> impl Iterator<Item = String> {
    let anew = outlook.anew.map(|why| format!("starts anew, because {why}"));
    let failed = outlook.failed.as_ref().map(|why| format!("failed last time: {why}"));
    let compared = outlook.compared_with.as_ref();
    let compared =
        compared.map(|with| format!("compared with the results of {with}, as this pipeline never ran"));
    outlook.goes_on.map(|from| from.to_string()).into_iter().chain(anew).chain(failed).chain(compared)
}

/// `just now`, `5 min ago`, `3 h ago`, `2 days ago`.
pub(super) fn age(since_1970: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match now.saturating_sub(since_1970) {
        ..60 => "just now".to_owned(),
        s @ ..3600 => format!("{} min ago", s / 60),
        s @ ..172_800 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// `45 s`, `5 min`, `3 h`, `7 days`, rounded down.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        s @ ..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// `accuracy 0.3125  loss 1.9020`, in the order of names.
pub(super) fn metrics(figures: &BTreeMap<String, f64>) -> String {
    let texts: Vec<String> =
        figures.iter().map(|(name, value)| format!("{name} {}", figure(*value))).collect();
    texts.join("  ")
}

/// A figure to four decimals, or without any if it is whole.
pub(super) fn figure(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// `1 stage`, `2 stages`.
pub(super) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `1 damaged file`, `2 damaged files`, given `damaged files`: the first word in the plural loses its `s`.
pub(super) fn counted(n: usize, plural: &str) -> String {
    let end = plural.split_inclusive(' ').scan(0, |end, word| {
        *end += word.len();
        Some((*end - word.len() + word.trim_end().len(), word))
    });
    let mut ends = end.filter(|(_, word)| word.trim_end().ends_with('s')).map(|(end, _)| end);
    match ends.next().filter(|_| n == 1) {
        Some(end) => format!("1 {}{}", &plural[..end - 1], &plural[end..]),
        None => format!("{n} {plural}"),
    }
}

/// `the stage is`, `all 7 stages are`.
pub(super) fn all_stages_are(n: usize) -> String {
    if n == 1 { "the stage is".to_owned() } else { format!("all {n} stages are") }
}

/// `; did you mean `x`?`, or nothing if no candidate is near.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let closest = candidates.map(|c| (strsim::damerau_levenshtein(name, c), c)).min();
    closest
        .filter(|(distance, _)| *distance <= name.len().div_ceil(3) && *distance < name.len())
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

/// Rows as left-aligned columns two spaces apart, without spaces at the ends of lines.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!([bytes(0), bytes(27_648), bytes(2_211_840_000)], ["0 B", "27.0 KiB", "2.1 GiB"]);
        assert_eq!([duration(0.004), duration(3.21), duration(725.0)], ["4 ms", "3.2 s", "12 min 05 s"]);
        assert_eq!([duration(0.0001), duration(12_000.0)], ["under 1 ms", "3 h 20 min"]);
        assert_eq!([count(1, "stage"), count(0, "stage")], ["1 stage", "0 stages"]);
        assert_eq!([counted(1, "damaged files"), counted(2, "views")], ["1 damaged file", "2 views"]);
        assert_eq!([counted(1, "logs of runs"), counted(1, "views")], ["1 log of runs", "1 view"]);
    }

    #[test]
    fn the_nearest_name_is_offered_only_if_it_is_near() {
        assert_eq!(nearest("trian", ["train", "test"].into_iter()), "; did you mean `train`?");
        assert_eq!(nearest("banana", ["train", "test"].into_iter()), "");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&rows), "a     1\nlong\n");
    }
}
