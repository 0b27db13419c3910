//! Runs that are killed at any time, and go on: with the results of an undisturbed run, and nothing wrong in the store
//! in between.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

/// All kinds of stages; 1,030 samples are two shards.
const PIPELINE: &str = r#"
name: killed
stages:
  words: { uses: command, with: { run: "mkdir d; seq 2000 > d/a; sleep 0.05; seq 30 > d/b", outs: { d: d/ } } }
  count: { uses: command, in: { d: words.d }, with: { run: "cat in/d/* | wc -c > n", outs: { n: n } } }
  archive: { uses: synthesize, with: { train_per_class: 4, test_per_class: 2 } }
  images: { uses: decode, in: { archive: archive } }
  parts: { uses: split, in: { images: images.train }, with: { parts: { train: 0.5, val: 0.5 }, seed: 1 } }
  drawn: { uses: augment, in: { images: parts.train }, with: { samples: 1030, transforms: [ { resized-crop: 16 } ] } }
  few: { uses: augment, in: { images: parts.train }, with: { samples: 48, redraw: each-epoch, transforms: [ { resized-crop: 16 } ] } }
  val: { uses: augment, in: { images: parts.val }, with: { samples: 16, transforms: [ { resize: 16 } ] } }
  train: { uses: train, in: { train: few, val: val }, with: { model: lenet, epochs: 3, batch: 16, seed: 1 } }
  tune: { uses: fine-tune, in: { model: train.model, train: few, val: val }, with: { epochs: 2, batch: 24, seed: 2 } }
  test: { uses: evaluate, in: { model: tune.model, images: images.test }, with: { transforms: [ { resize: 16 } ] } }
"#;

const STAGES: [&str; 11] =
    ["words", "count", "archive", "images", "parts", "drawn", "few", "val", "train", "tune", "test"];

type Digests = BTreeMap<&'static str, BTreeMap<String, String>>;

#[test]
fn a_run_killed_at_any_time_ends_with_the_results_of_an_undisturbed_one() {
    kill_at_random(20, 1);
}

#[test]
#[ignore = "takes minutes: cargo test --release --test end_to_end -- --ignored kill"]
fn two_hundred_and_fifty_kills_change_no_result() {
    kill_at_random(250, 2);
}

/// Kills so many runs, spread over all that an undisturbed run takes; up to three in a row in one workspace.
fn kill_at_random(kills: usize, seed: u64) {
    let undisturbed = Workspace::new(PIPELINE);
    let begun = Instant::now();
    undisturbed.run().ran(STAGES);
    let (length, expected) = (begun.elapsed(), digests(&undisturbed));
    let mut random = Random(seed);
    let mut killed = 0;
    while killed < kills {
        let ws = Workspace::new(PIPELINE);
        for _ in 0..=random.below(3) {
            let mut child = ws.start();
            // What is cached by then makes the rest shorter.
            let left = STAGES.len() - kept(&ws).min(STAGES.len());
            let part = length.mul_f64(left as f64 / STAGES.len() as f64);
            std::thread::sleep(part.mul_f64(random.below(1000) as f64 / 1000.0));
            killed += usize::from(child.try_wait().expect("ours").is_none());
            child.kill().expect("ours");
            child.wait().expect("ours");
            ws.call(&["cache", "verify"]).succeeds().says(["everything is as it should be"]);
        }
        assert_eq!(ws.run().said.code, Some(0), "after {killed} kills");
        assert_eq!(digests(&ws), expected, "after {killed} kills");
        ws.call(&["cache", "verify"]).succeeds().says(["everything is as it should be"]);
        ws.run().ran([]);
    }
}

#[test]
fn a_download_that_is_killed_goes_on_from_its_last_byte() {
    let bytes: Arc<[u8]> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // The first answer stops in the middle and the connection stays open.
    let server = Server::start(&bytes, 1_200_000);
    let ws = Workspace::new(&format!(
        "{{ name: fetch, stages: {{ file: {{ uses: download, with: {{ url: \"{}\" }} }} }} }}",
        server.url
    ));
    let mut child = ws.start();
    let arrived = || {
        let partial = ws.files("cache/partial").into_iter().find(|path| path.ends_with("download"));
        partial.and_then(|path| fs::metadata(path).ok()).map_or(0, |file| file.len())
    };
    let since = Instant::now();
    while arrived() < 1_200_000 {
        assert!(since.elapsed() < Duration::from_secs(30), "only {} bytes have arrived", arrived());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("ours");
    child.wait().expect("ours");
    ws.run().ran(["file"]);
    let ranges = server.ranges.lock().expect("no panic").clone();
    assert_eq!(ranges, ["", "bytes=1200000-"]);
    let fetched = fs::read(ws.path("data/fetch/file/file.bin")).expect("it is linked");
    assert!(fetched == *bytes, "{} bytes that differ", fetched.len());
}

fn digests(ws: &Workspace) -> Digests {
    STAGES.iter().map(|stage| (*stage, ws.digests(stage))).collect()
}

fn kept(ws: &Workspace) -> usize {
    ws.count_files("cache/records")
}

/// Numbers that look random and are the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// A web server with one file, which gives only so much of it the first time.
struct Server {
    url: String,
    /// The range that each request has asked for.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(bytes: &Arc<[u8]>, at_first: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/file.bin", listener.local_addr().expect("an address"));
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let (bytes, asked) = (Arc::clone(bytes), Arc::clone(&ranges));
        std::thread::spawn(move || {
            for (at, stream) in listener.incoming().enumerate() {
                let stream = stream.expect("a connection");
                let most = if at == 0 { at_first } else { usize::MAX };
                let range = answer(&stream, &bytes, most);
                asked.lock().expect("no panic").push(range);
                if at == 0 {
                    // Until the other side is gone.
                    let _ = (&stream).read(&mut [0]);
                }
            }
        });
        Server { url, ranges }
    }
}

/// Gives at most so many bytes of what is asked for, and says which range that was.
fn answer(mut stream: &TcpStream, bytes: &[u8], most: usize) -> String {
    let lines = BufReader::new(stream).lines().map(|line| line.expect("a request"));
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let value = |line: &String| Some(line.to_lowercase().strip_prefix("range:")?.trim().to_owned());
    let range = head.iter().find_map(value).unwrap_or_default();
    let first = range.strip_prefix("bytes=").and_then(|range| range.trim_end_matches('-').parse().ok());
    let (status, first) = first.map_or(("200 OK", 0), |first: usize| ("206 Partial Content", first));
    let (rest, size) = (&bytes[first..], bytes.len());
    let mut said = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\nConnection: close\r\n");
    said += &format!("Content-Length: {}\r\n", rest.len());
    if first > 0 {
        said += &format!("Content-Range: bytes {first}-{}/{size}\r\n", size - 1);
    }
    let given = &rest[..most.min(rest.len())];
    stream.write_all(format!("{said}\r\n").as_bytes()).and_then(|()| stream.write_all(given)).expect("sent");
    range
}
