//! The arithmetic of a transformer on a CPU: products with constant matrices, and attention.
//!
//! ONNX Runtime's own matrix product is near what a processor can do in fp32. What it lacks is the way there: bias and
//! GELU are passes of their own over memory, attention copies its operands to transpose them, and 8-bit arithmetic scales
//! a whole batch by its largest value, so that a pair's score changes with its company and precision is lost. Here
//!
//! - [`linear`] multiplies rows by a packed constant matrix in fp32, in 16-bit or in 8-bit integers, with one scale for each
//!   row and for each 128 inputs of a column, and adds the bias and applies GELU while the result is in registers or cache;
//! - [`attention`] reads queries, keys and values where they lie.
//!
//! Every row of a result depends on its own row of the input alone, and is computed by the same operations in the same
//! order whatever rows stand beside it: the same bits in any batch. Integer sums are exact, so the three instruction sets
//! ([`isa`]) agree in them.

mod activation;
mod aligned;
mod attention;
mod isa;
mod linear;
mod matrix;
mod norm;
mod portable;
mod quantize;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use attention::{Attention, Heads, Mask};
pub(crate) use isa::Isa;
pub(crate) use linear::{Arithmetic, Linear};
pub(crate) use norm::LayerNorm;

#[cfg(test)]
mod speed {
    use super::*;
    #[test]
    fn speed() {
        for isa in Isa::available() {
            for ar in [Arithmetic::Float32, Arithmetic::Int16, Arithmetic::Int8] {
                for (k, n) in [(384, 384), (384, 1536), (1536, 384)] {
                    for m in [32, 128, 512] {
                        let w: Vec<f32> = (0..k * n).map(|i| ((i * 7) % 101) as f32 / 50.0 - 1.0).collect();
                        let l = Linear::new(isa, ar, n, &w, None, n == 1536);
                        let x: Vec<f32> = (0..m * k).map(|i| ((i * 31) % 113) as f32 / 50.0 - 1.0).collect();
                        let mut out = vec![0.0; m * n];
                        let mut best = f64::MAX;
                        for _ in 0..30 {
                            let t = std::time::Instant::now();
                            l.run(&x, &mut out);
                            best = best.min(t.elapsed().as_secs_f64());
                        }
                        println!("{} {ar:?} k{k} n{n} m{m}: {:.0} GOP/s", isa.name(), 2.0 * (m * n * k) as f64 / best / 1e9);
                    }
                }
            }
            for s in [32, 128, 512] {
                let heads = Heads { count: 12, size: 32 };
                let q: Vec<f32> = (0..s * 384).map(|i| ((i * 31) % 113) as f32 / 50.0 - 1.0).collect();
                let mut out = vec![0.0; s * 384];
                let mut best = f64::MAX;
                for _ in 0..30 {
                    let t = std::time::Instant::now();
                    Attention { isa, heads, scale: 0.17, batch: 1, queries: s, tokens: s, query: &q, key: &q, value: &q, mask: None }.run(&mut out);
                    best = best.min(t.elapsed().as_secs_f64());
                }
                println!("{} attention s{s}: {:.3} ms {:.0} GFLOP/s", isa.name(), best * 1e3, 4.0 * (s * s * 384) as f64 / best / 1e9);
            }
        }
    }
}
