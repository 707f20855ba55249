//! How much memory scoring takes (Linux): the resident memory after loading, the peak of large calls, and what repeated
//! calls of mixed lengths leave behind.
//!
//!     cargo run --release --example memory -- [COMPUTE [THREADS [FOLDER]]]
//!
//! Without arguments: the bundled cross-encoder as it runs by default.

use std::env;
use std::fs;

use crossrank::{ModelSource, Reranker, Result};

const WORDS: [&str; 12] =
    ["library", "the", "of", "river", "books", "and", "keeps", "question", "water", "paper", "answer", "city"];

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mut builder = Reranker::builder();
    if let Some(compute) = arguments.next() {
        builder = builder.compute_type(compute.parse()?);
    }
    if let Some(threads) = arguments.next().and_then(|n| n.parse().ok()) {
        builder = builder.threads(threads);
    }
    if let Some(folder) = arguments.next() {
        builder = builder.model(ModelSource::dir(folder));
    }
    let reranker = builder.build()?;
    let weights: u64 = reranker.info().files.iter().map(|file| file.bytes).sum();
    println!("{}, {} threads, files of {} MB", reranker.info().title(), reranker.info().threads, weights / 1_000_000);
    println!("loaded: {} MB, peak {} MB", status("VmRSS"), status("VmHWM"));

    let mixed: Vec<String> = (0..40).map(|i| format!("{i} {}", text(i, 5 + (i * i * 7) % 380))).collect();
    let mut after = Vec::new();
    for round in 0..50 {
        reranker.rerank("how do they keep the books dry?", &mixed[..1 + round * 11 % 40])?;
        after.push(status("VmRSS"));
    }
    println!(
        "resident after calls 1, 10, 25, 50 of mixed lengths: {} {} {} {} MB",
        after[0], after[9], after[24], after[49]
    );

    // Equal documents would be scored once.
    let long: Vec<String> = (0..1000).map(|i| format!("{i} {}", text(i, 600))).collect();
    reranker.rerank("how do they keep the books dry?", &long)?;
    println!("1,000 documents of 512 tokens: peak {} MB", status("VmHWM"));
    drop(long);

    let short: Vec<String> = (0..100_000).map(|i| format!("{} {i}", text(i, 6))).collect();
    println!("100,000 short documents in memory: {} MB", status("VmRSS"));
    reranker.rerank("dry books", &short)?;
    println!("and ranked: peak {} MB", status("VmHWM"));
    Ok(())
}

fn text(seed: usize, words: usize) -> String {
    (0..words).map(|i| WORDS[(seed * 31 + i * (seed % 5 + 1) + i / 7) % WORDS.len()]).collect::<Vec<_>>().join(" ")
}

/// A figure of `/proc/self/status`, in MB.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024 / 1_000_000)
}
