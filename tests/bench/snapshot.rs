//! An unchanged snapshot beside `git status`, on trees of some sizes: `cargo bench --bench snapshot -- 2500 10000`.
//!
//! Also serves other tools: `--once ROOT MEMO_DIR` takes one snapshot and prints what it took.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dagcache::for_tests::take_snapshot;

/// What an unchanged snapshot costs.
const NOTHING: &str = "Effort { listed: 0, hashed: 0 }";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [once, root, memo_dir] = args.as_slice()
        && once == "--once"
    {
        let (took, (files, effort)) = timed(|| take(Path::new(root), Path::new(memo_dir)));
        say(&format!("{files} files, {effort}, {took:?}"));
        return;
    }
    let sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    for size in if sizes.is_empty() {
        vec![2_500, 10_000]
    } else {
        sizes
    } {
        measure(size);
    }
}

fn measure(size: usize) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let memo = tempfile::tempdir().expect("a temporary folder");
    make_tree(root.path(), size);
    let (cold, _) = timed(|| take(root.path(), memo.path()));
    // The first memo leaves out what was written just before.
    std::thread::sleep(Duration::from_millis(50));
    take(root.path(), memo.path());
    git(root.path(), &["status", "--porcelain"]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        theirs.push(timed(|| git(root.path(), &["status", "--porcelain"])).0);
        let (took, (_, effort)) = timed(|| take(root.path(), memo.path()));
        assert_eq!(effort, NOTHING, "nothing changed");
        ours.push(took);
    }
    let one = root.path().join("d0/d0/f0.txt");
    fs::write(&one, "edited").expect("an edit");
    let (edit, _) = timed(|| take(root.path(), memo.path()));
    fs::write(root.path().join("d0/d0/new.txt"), "new").expect("a new file");
    let (added, _) = timed(|| take(root.path(), memo.path()));
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    say(&format!(
        "{size} files: unchanged {ours:?}, git status {theirs:?}, ratio {:.2}; cold {cold:?}, one edit {edit:?}, one new {added:?}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    ));
}

/// Ten files in a folder, ten such folders in one above.
fn make_tree(root: &Path, size: usize) {
    for at in 0..size {
        let dir = root.join(format!("d{}/d{}", at / 100, at / 10 % 10));
        fs::create_dir_all(&dir).expect("a folder");
        let text = format!("content of file {at}\n").repeat(100);
        fs::write(dir.join(format!("f{}.txt", at % 10)), text).expect("a file");
    }
    fs::write(root.join(".gitignore"), "*.log\n/target\n").expect("a file");
    git(root, &["init", "-q"]);
    git(root, &["add", "."]);
}

fn take(root: &Path, memo_dir: &Path) -> (usize, String) {
    take_snapshot(root, memo_dir).expect("a snapshot")
}

fn git(root: &Path, args: &[&str]) {
    let done = Command::new("git").args(args).current_dir(root).output();
    assert!(done.expect("git").status.success(), "git {args:?}");
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output");
}
