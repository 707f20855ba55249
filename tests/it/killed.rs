//! Long runs that are killed, through the real binary: what the tests of several commands need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{assert_code, crossrank, run, stderr};

/// A file beside the results.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

/// Waits until so many units are in the journal of `output`.
pub fn wait_for_units(output: &Path, units: usize, child: &mut Child) {
    let start = Instant::now();
    let journal = beside(output, ".resume");
    // The first line says what the job is.
    while fs::read_to_string(&journal).map_or(0, |text| text.lines().count()) <= units {
        assert!(start.elapsed() < Duration::from_secs(300), "{} did not grow", journal.display());
        assert!(child.try_wait().unwrap().is_none(), "the process ended before it was killed");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a command to its end; then once more, killed when the first unit is done, and resumed: the two results must be one.
/// The command is given without its `-o`.
#[track_caller]
pub fn killed_and_resumed(arguments: &[&str], undisturbed: &Path, killed: &Path) {
    let with_output = |path: &Path, more: &[&str]| -> Vec<String> {
        let all = arguments.iter().copied().chain(["-o", path.to_str().unwrap()]).chain(more.iter().copied());
        all.map(str::to_owned).collect()
    };
    let run_to = |path: &Path, more: &[&str]| {
        let arguments = with_output(path, more);
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let whole = run_to(undisturbed, &[]);
    assert_code(&whole, 0);

    let arguments = with_output(killed, &[]);
    let mut child = crossrank(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_units(killed, 1, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.exists(), "a file has its name when it is whole");
    let begun = run_to(killed, &[]);
    assert_code(&begun, 2);
    assert!(stderr(&begun).contains("--resume"), "{}", stderr(&begun));

    let resumed = run_to(killed, &["--resume"]);
    assert_code(&resumed, 0);
    assert_eq!(stderr(&resumed), stderr(&whole));
    assert!(fs::read(killed).unwrap() == fs::read(undisturbed).unwrap(), "the same bytes");
    for suffix in [".part", ".resume"] {
        assert!(!beside(killed, suffix).exists(), "{suffix} is left");
    }
    let again = run_to(killed, &["--resume"]);
    assert_code(&again, 0);
    assert!(stderr(&again).contains("nothing to resume"), "{}", stderr(&again));
}
