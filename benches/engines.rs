//! How long the bundled models take: `cargo bench --bench engines`.
//!
//! - `rerank/1 short`: one query and one document of 10 words: the latency of a single pair, tokenising included.
//! - `rerank/10 mixed`, `100 mixed`, `1000 mixed`: documents of 9 to 350 words, log-normal (mean about 86).
//! - `rerank/100 short`: documents of 8 to 40 words.
//! - `rerank/100 duplicates`: one document a hundred times.
//! - `embed/100 mixed`: the embeddings of the mixed documents.
//! - `cascade/all`, `10`, `20`, `auto`: the same with the cross-encoder on all, on the 10 or 20 most similar, and on as
//!   many as the gap says; the time of the embeddings is in it. `… embedded before`: it is not.
//! - `compare/the built-in size`: both engines on five documents.
//!
//! All engines use every core. The documents are made of ordinary words by a fixed sequence: the same in every run.

mod texts;

use std::hint::black_box;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use crossrank::{Candidates, Cascade, CascadeOptions, Case, Embedder, Reranker, compare};
use texts::{QUERY, Sequence, documents};

fn engines(criterion: &mut Criterion) {
    let reranker = Reranker::bundled().expect("the bundled cross-encoder");
    let embedder = Embedder::bundled().expect("the bundled bi-encoder");

    let mut group = criterion.benchmark_group("rerank");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let loads = [
        ("1 short", documents(1, |sequence| sequence.text(10))),
        ("10 mixed", documents(10, Sequence::mixed)),
        ("100 mixed", documents(100, Sequence::mixed)),
        ("1000 mixed", documents(1000, Sequence::mixed)),
        ("100 short", documents(100, Sequence::short)),
        ("100 duplicates", vec![documents(1, Sequence::mixed).remove(0); 100]),
    ];
    for (name, documents) in &loads {
        group.throughput(Throughput::Elements(documents.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| black_box(reranker.rerank(QUERY, documents).expect("a ranking")));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("embed");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let mixed = documents(100, Sequence::mixed);
    group.throughput(Throughput::Elements(mixed.len() as u64));
    group.bench_function("100 mixed", |bencher| {
        bencher.iter(|| black_box(embedder.embed(&mixed).expect("embeddings")));
    });
    group.finish();

    let mut group = criterion.benchmark_group("cascade");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(mixed.len() as u64));
    group.bench_function("all", |bencher| {
        bencher.iter(|| black_box(reranker.rerank(QUERY, &mixed).expect("a ranking")));
    });
    let cascade = Cascade::new(&embedder, &reranker);
    let embeddings = embedder.embed_documents(&mixed).expect("embeddings");
    for (name, candidates) in [("10", 10.into()), ("20", 20.into()), ("auto", Candidates::default())] {
        let options = CascadeOptions::new().candidates(candidates);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(cascade.rerank_with(QUERY, &mixed, &options).expect("a ranking")));
        });
        group.bench_function(format!("{name}, embedded before"), |bencher| {
            bencher.iter(|| {
                black_box(cascade.rerank_with_embeddings(QUERY, &mixed, &embeddings, &options).expect("a ranking"))
            });
        });
    }
    group.finish();

    let cases = [Case::new("five", QUERY, documents(5, |sequence| sequence.text(10)))];
    criterion.benchmark_group("compare").sample_size(10).bench_function("the built-in size", |bencher| {
        bencher.iter(|| black_box(compare(&reranker, &embedder, &cases, false).expect("a comparison")));
    });
}

criterion_group!(benches, engines);
criterion_main!(benches);
