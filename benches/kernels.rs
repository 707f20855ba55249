//! How fast one thread multiplies, with each instruction set that the processor has: `cargo bench --features internals --bench
//! kernels`.
//!
//! `product/SET/TYPE`: 512 rows of 384 numbers by a constant matrix of 384 × 1,536, the largest product of a layer of the
//! bundled cross-encoder, from fp32 rows to fp32 results; with the integer types, rounding the rows is in the time. `int8`
//! is what `w8a8` does in all layers. Multiplications and additions count as two.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossrank::internals;

const ROWS: usize = 512;
const INPUTS: usize = 384;
const COLUMNS: usize = 1536;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + 11) as f32 * 0.731).sin()).collect()
}

fn kernels(criterion: &mut Criterion) {
    let (weights, rows) = (numbers(INPUTS * COLUMNS), numbers(ROWS * INPUTS));
    let mut out = vec![0.0; ROWS * COLUMNS];
    let mut group = criterion.benchmark_group("product");
    group.sample_size(10).throughput(Throughput::Elements((2 * ROWS * INPUTS * COLUMNS) as u64));
    for set in internals::instruction_sets() {
        for arithmetic in ["float32", "int16", "int8"] {
            let product = internals::product(set, arithmetic, COLUMNS, &weights).expect("it is one of the processor's");
            group.bench_function(format!("{set}/{arithmetic}"), |bencher| {
                bencher.iter(|| product.run(black_box(&rows), black_box(&mut out)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
