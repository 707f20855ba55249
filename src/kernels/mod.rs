//! The arithmetic of a transformer on a CPU: products with constant matrices, and attention.
//!
//! ONNX Runtime's own matrix product is near what a processor can do in fp32. What it lacks is the way there: bias and
//! GELU are passes of their own over memory, attention copies its operands to transpose them, and 8-bit arithmetic scales
//! a whole batch by its largest value, so that a pair's score changes with its company and precision is lost. Here
//!
//! - [`linear`] multiplies rows by a packed constant matrix in fp32, in 16-bit or in 8-bit integers, with one scale for each
//!   row and for each 128 inputs of a column, and adds the bias and applies GELU while the result is in registers or cache;
//! - [`attention`] reads queries, keys and values where they lie;
//! - [`table`] reads rows of a constant table;
//! - [`norm`] adds the residual and normalises in one pass;
//! - [`team`] lets threads that have nothing else to do help with the products of another.
//!
//! Every row of a result depends on its own row of the input alone, and is computed by the same operations in the same
//! order whatever rows stand beside it: the same bits in any batch. Integer sums are exact, so all instruction sets
//! ([`isa`]) agree in them.

// Before those that use its macros.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[macro_use]
mod unroll;

mod activation;
mod aligned;
mod attention;
mod isa;
mod linear;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod portable;
mod quantize;
mod table;
mod team;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use attention::{Attention, Heads, Mask};
pub(crate) use isa::Isa;
pub(crate) use linear::{Arithmetic, Linear};
pub(crate) use norm::LayerNorm;
pub(crate) use table::{Table, TableNumbers};
pub(crate) use team::Team;

/// GELU for a few numbers, without asking for a fused multiply-add.
pub(crate) fn gelu(x: f32) -> f32 {
    activation::gelu::<false>(x)
}
