//! How long the steps before the model take: `cargo bench --features internals --bench steps`.
//!
//! - `tokenise/100 mixed`, `1000 mixed`: joining one query with documents of 9 to 350 words (mean about 86), on all cores.
//!   `rerank/…` of `engines` has it in its time.
//! - `tokenise/5 MB`: one document of 5 MB, of which the model reads 512 tokens.
//! - `equal/100000`: finding the different ones among 100,000 short texts that are all different.
//! - `plan/1000`, `100000`: dividing tokenised pairs into batches for two workers.

mod texts;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossrank::Reranker;
use crossrank::internals;
use texts::{QUERY, Sequence, documents};

fn steps(criterion: &mut Criterion) {
    let reranker = Reranker::bundled().expect("the bundled cross-encoder");

    let mut group = criterion.benchmark_group("tokenise");
    group.sample_size(10);
    let loads = [
        ("100 mixed", documents(100, Sequence::mixed)),
        ("1000 mixed", documents(1000, Sequence::mixed)),
        ("5 MB", documents(1, |sequence| sequence.text(1_000_000))),
    ];
    for (name, documents) in &loads {
        group.throughput(Throughput::Elements(documents.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| black_box(internals::tokenise(&reranker, QUERY, documents).expect("tokens")));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("equal");
    let short = documents(100_000, Sequence::short);
    group.sample_size(10).throughput(Throughput::Elements(short.len() as u64));
    group.bench_function("100000", |bencher| bencher.iter(|| black_box(internals::different(&short))));
    group.finish();

    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for (name, count) in [("1000", 1_000), ("100000", 100_000)] {
        let pairs = internals::pairs_of(documents(count, Sequence::mixed).iter().map(|text| text.len() / 5 + 13));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(internals::plan(&pairs, 2))));
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
