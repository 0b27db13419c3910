//! `stlpipe doctor`: looks at the machine, the store's folder and the GPUs, and says what will not work and what
//! to do about it. It repairs nothing and leaves nothing behind.

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::exit::{FAILED, Failure};
use super::words::{bytes, count, table};
use crate::nn::{self, Driver, NoGpu};

/// Less free space than this deserves a word: the archive of STL-10 and its pictures take most of it.
const ROOM: u64 = 6 << 30;

/// Less available memory than this deserves a word.
const MEMORY: u64 = 4 << 30;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The store of all results.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    cache: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    topic: &'static str,
    level: Level,
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Works, but somebody may want to know.
    Note,
    /// Runs will fail.
    Problem,
}

impl Finding {
    fn ok(topic: &'static str, text: String) -> Finding {
        Finding { topic, level: Level::Ok, text, remedy: None }
    }

    fn note(topic: &'static str, text: String, remedy: &'static str) -> Finding {
        Finding { topic, level: Level::Note, text, remedy: Some(remedy) }
    }

    fn problem(topic: &'static str, text: String, remedy: &'static str) -> Finding {
        Finding { topic, level: Level::Problem, text, remedy: Some(remedy) }
    }
}

pub(super) fn doctor(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let mut findings = vec![version(), processor()];
    findings.extend(memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()));
    findings.extend(store(&args.cache));
    findings.extend(cuda(nn::gpus(), nn::try_gpu));
    let usable = findings.iter().all(|finding| finding.level != Level::Problem);
    if args.json {
        writeln!(out, "{:#}", json!({ "usable": usable, "findings": findings }))?;
    } else {
        write!(out, "{}", to_text(&findings))?;
    }
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// One line per finding, its remedy below it.
fn to_text(findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for Finding { topic, level, text, remedy } in findings {
        let level = match level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "PROBLEM",
        };
        rows.push([level, topic, text].map(str::to_owned).to_vec());
        rows.extend(remedy.map(|remedy| ["", "", remedy].map(str::to_owned).to_vec()));
    }
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    let mut text = table(&rows);
    if problems > 0 {
        writeln!(text, "{} found", count(problems, "problem")).expect("writing to a string cannot fail");
    }
    text
}

fn version() -> Finding {
    let cuda = if cfg!(feature = "cuda") { "with" } else { "without" };
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let text = format!("stlpipe {} for {system} on {architecture}, {cuda} CUDA", env!("CARGO_PKG_VERSION"));
    Finding::ok("version", text)
}

fn processor() -> Finding {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("a processor without a name", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let instructions = nn::instructions();
    let text = format!("{model}, {}, {instructions}", count(cores, "core"));
    if cfg!(target_arch = "x86_64") && !instructions.starts_with("AVX") {
        return Finding::note("cpu", text, "without AVX2, networks train several times slower");
    }
    Finding::ok("cpu", text)
}

/// What `/proc/meminfo` says, if there is one.
fn memory(info: &str) -> Option<Finding> {
    let amount = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let (total, available) = (amount("MemTotal")?, amount("MemAvailable")?);
    let text = format!("{}, of which {} are available", bytes(total), bytes(available));
    Some(if available < MEMORY {
        Finding::note("memory", text, "if a training is killed for want of memory, give it a smaller `batch`")
    } else {
        Finding::ok("memory", text)
    })
}

/// The folder of the store, or the one in which it would be made.
fn store(cache: &Path) -> Vec<Finding> {
    let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
    let Some(folder) = cache.ancestors().find(|path| path.exists()) else { return Vec::new() };
    let place = if folder == cache {
        cache.display().to_string()
    } else {
        format!("{} (to be made)", cache.display())
    };
    if let Err(error) = try_folder(folder) {
        let remedy = "make it writable, or choose another folder, on a local disk, with --cache DIR";
        return vec![Finding::problem("store", format!("{place}: {error}"), remedy)];
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let system = folder.canonicalize().ok().and_then(|path| file_system(&mounts, &path));
    let system = system.unwrap_or("an unknown file system");
    let mut findings =
        vec![Finding::ok("store", format!("{place}: on {system}; locks, links and mapped files work"))];
    if ["nfs", "nfs4", "cifs", "smb3", "9p"].contains(&system) || system.starts_with("fuse") {
        let text = format!("{system} is a file system of another machine or program");
        findings.push(Finding::note("store", text, "use the store from one machine at a time"));
    }
    if ["tmpfs", "ramfs"].contains(&system) {
        let text = format!("{system} keeps files in memory, until the next restart");
        findings.push(Finding::note("store", text, "choose a folder on a disk with --cache DIR"));
    }
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let text = format!("{} are free", bytes(free));
        let remedy = "STL-10 and what is made of it may take more; choose another disk with --cache DIR";
        findings.push(if free < ROOM {
            Finding::note("disk", text, remedy)
        } else {
            Finding::ok("disk", text)
        });
    }
    findings
}

/// Tries all that the store and the datasets in it ask of a file system.
fn try_folder(folder: &Path) -> Result<(), String> {
    let what = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let trial = tempfile::tempdir_in(folder).map_err(what("cannot be written"))?;
    let (file, link) = (trial.path().join("file"), trial.path().join("link"));
    fs::write(&file, b"trial").map_err(what("cannot be written"))?;
    std::os::unix::fs::symlink(&file, &link).map_err(what("links do not work"))?;
    let open = || File::options().read(true).write(true).open(&link).map_err(what("links do not work"));
    let (first, second) = (open()?, open()?);
    first.lock().map_err(what("locks do not work"))?;
    match second.try_lock() {
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(what("locks do not work")(error)),
        Ok(()) => return Err("locks do not work: a file was locked twice".to_owned()),
    }
    // SAFETY: nobody else knows this file, so nobody changes it while it is mapped.
    let map = unsafe { memmap2::Mmap::map(&first) }.map_err(what("files cannot be mapped"))?;
    if map[..] == *b"trial" { Ok(()) } else { Err("what was written is not what is read".to_owned()) }
}

/// The type of the file system that a path lies on, by the text of `/proc/self/mountinfo`: the one mounted on the
/// longest beginning of the path, and of those the last.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mount = |line: &'a str| {
        let (mount, system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&point).then_some((point.len(), system.split(' ').next()?))
    };
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, system)| system)
}

fn cuda(gpus: Result<Driver, NoGpu>, try_gpu: impl Fn(usize) -> Result<(), NoGpu>) -> Vec<Finding> {
    let Driver { cuda: (major, minor), gpus } = match gpus {
        Ok(driver) => driver,
        Err(why) => return vec![Finding::note("cuda", why.to_string(), "networks run on the processor")],
    };
    let mut findings = vec![Finding::ok("cuda", format!("the driver knows CUDA up to {major}.{minor}"))];
    for (number, gpu) in gpus.iter().enumerate() {
        findings.push(match try_gpu(number) {
            Ok(()) => {
                let text = format!("cuda:{number}, {} with {}, computes", gpu.name, bytes(gpu.memory));
                Finding::ok("cuda", text)
            }
            Err(why) => Finding::problem("cuda", why.to_string(), "until then, run with `--device cpu`"),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Gpu;

    #[test]
    fn a_folder_that_can_be_used_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let findings = store(&dir.path().join("not/yet"));
        assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
        assert!(findings[0].text.contains("not/yet (to be made): on "), "{findings:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_store_that_is_a_file_is_a_problem_with_a_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let findings = store(file.path());
        assert_eq!((findings.len(), findings[0].level), (1, Level::Problem), "{findings:?}");
        assert!(findings[0].remedy.unwrap().contains("--cache"));
    }

    #[test]
    fn the_file_system_is_that_of_the_deepest_mount() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/my\\040disk rw,relatime shared:1 - nfs4 server:/x rw
31 30 0:41 / /mnt rw - tmpfs tmpfs rw
";
        assert_eq!(file_system(mounts, Path::new("/mnt/my disk/cache")), Some("nfs4"));
        assert_eq!(file_system(mounts, Path::new("/mnt/other")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/mntx")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn little_memory_is_noted() {
        let info = |available| format!("MemTotal:  8000000 kB\nMemAvailable: {available} kB\n");
        assert_eq!(memory(&info(7_000_000)).unwrap().level, Level::Ok);
        assert_eq!(memory(&info(700_000)).unwrap().level, Level::Note);
        assert!(memory("").is_none());
    }

    #[test]
    fn gpus_are_named_and_one_that_does_not_compute_is_a_problem() {
        let gpus = ["A", "B"].map(|name| Gpu { name: name.to_owned(), memory: 8 << 30 }).to_vec();
        let broken = NoGpu::Broken { number: 1, name: "B".to_owned(), problem: "no kernel".to_owned() };
        let try_gpu = |number| if number == 1 { Err(broken.clone()) } else { Ok(()) };
        let text = to_text(&cuda(Ok(Driver { cuda: (12, 4), gpus }), try_gpu));
        for told in
            ["CUDA up to 12.4", "cuda:0, A with 8.0 GiB, computes", "PROBLEM", "no kernel", "1 problem"]
        {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[test]
    fn no_gpu_is_no_problem() {
        let findings = cuda(Err(NoGpu::None), |_| unreachable!("there is none to try"));
        assert_eq!((findings.len(), findings[0].level), (1, Level::Note));
    }
}
