//! What sentence-transformers may run on a pooled vector, or on each token's: its modules `Dense`, `LayerNorm` and
//! `Normalize`.
//!
//! `Dense` is `activation(W · x + b)`; its folder has `config.json` (`in_features`, `out_features`, `bias`,
//! `activation_function`) and `model.safetensors` (`linear.weight`, `[out, in]`, and `linear.bias`). `LayerNorm` has
//! `dimension`, `norm.weight` and `norm.bias`. Weights may be f32, f16 or bf16, and are computed with in f32.

use std::fmt;

use half::{bf16, f16};
use ndarray::{Array2, ArrayView1};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::files::Files;
use crate::error::{Error, Result};
use crate::kernels::gelu;
use crate::loading::printable;

/// A module between the pooling and the final normalisation.
#[derive(Debug)]
pub(crate) enum Module {
    Dense(Dense),
    LayerNorm(LayerNorm),
    Normalize,
}

/// What a module is fed and what it makes, by sentence-transformers' names of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A pooled vector, and another one.
    Pooled,
    /// A pooled vector, and another one or a cross-encoder's scores.
    Scores,
    /// The vector of each token.
    Tokens,
}

impl Place {
    fn takes(self, input: Option<&str>, output: Option<&str>) -> bool {
        match (self, input.unwrap_or("sentence_embedding")) {
            (Place::Pooled, "sentence_embedding") => matches!(output, None | Some("sentence_embedding")),
            (Place::Scores, "sentence_embedding") => matches!(output, None | Some("sentence_embedding" | "scores")),
            // PyLate's files name no features.
            (Place::Tokens, "token_embeddings") => matches!(output, None | Some("token_embeddings")),
            (Place::Tokens, _) => input.is_none() && output.is_none(),
            _ => false,
        }
    }
}

/// `activation(W · x + b)`.
#[derive(Debug)]
pub(crate) struct Dense {
    folder: String,
    /// `[out, in]`, as torch keeps it.
    weights: Array2<f32>,
    bias: Option<Vec<f32>>,
    activation: DenseActivation,
}

/// `(x − mean) / √(variance + ε) · weight + bias`.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    folder: String,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// The functions of `torch.nn` that a `Dense` may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DenseActivation {
    Identity,
    Tanh,
    Relu,
    Gelu,
    Sigmoid,
    Silu,
}

/// The ε of `torch.nn.LayerNorm`.
const EPSILON: f64 = 1e-5;

#[derive(Debug, Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

#[derive(Debug, Deserialize)]
struct LayerNormConfig {
    dimension: usize,
}

fn yes() -> bool {
    true
}

impl Module {
    /// The number of dimensions that comes out where `width` go in.
    pub(crate) fn width_after(&self, width: usize) -> Result<usize> {
        let (folder, wants, gives) = match self {
            Module::Dense(dense) => (&dense.folder, dense.weights.ncols(), dense.weights.nrows()),
            Module::LayerNorm(norm) => (&norm.folder, norm.weight.len(), norm.weight.len()),
            Module::Normalize => return Ok(width),
        };
        if wants == width {
            return Ok(gives);
        }
        Err(Error::model(format!(
            "the module {folder} takes {wants} dimensions, and what comes before it gives {width}"
        )))
    }

    /// The module's output for one vector of the width that it takes.
    pub(crate) fn apply(&self, mut vector: Vec<f32>) -> Vec<f32> {
        match self {
            Module::Dense(dense) => return dense.apply(&vector),
            Module::LayerNorm(norm) => norm.apply(&mut vector),
            Module::Normalize => normalize(&mut vector),
        }
        vector
    }
}

/// Scales a vector to length 1, as torch's `normalize` does: a vector of zeros stays one.
pub(crate) fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12) as f32;
    vector.iter_mut().for_each(|x| *x /= length);
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Module::Dense(Dense { folder, weights, activation, .. }) => {
                write!(f, "Dense {} to {}, {activation:?} ({folder})", weights.ncols(), weights.nrows())
            }
            Module::LayerNorm(norm) => write!(f, "LayerNorm ({})", norm.folder),
            Module::Normalize => f.write_str("Normalize"),
        }
    }
}

impl Dense {
    /// Reads a module's folder.
    pub(super) fn read(files: &mut Files, folder: &str, place: Place) -> Result<Self> {
        let name = format!("{folder}/config.json");
        let config: DenseConfig = files.required_json(&name)?;
        let (input, output) = (config.module_input_name.as_deref(), config.module_output_name.as_deref());
        if !place.takes(input, output) || config.use_residual {
            return Err(Error::model(format!(
                "{name} of {} asks for a Dense module from {} to {} (module_input_name, module_output_name){}, which is not \
                 supported in a model of this kind",
                files.name(),
                printable(input.unwrap_or("sentence_embedding")),
                printable(output.or(input).unwrap_or("sentence_embedding")),
                if config.use_residual { " with a residual (use_residual)" } else { "" },
            )));
        }
        let activation = DenseActivation::read(config.activation_function.as_deref(), &name)?;
        let weights = Weights::read(files, folder)?;
        let shape = [config.out_features, config.in_features];
        let matrix = weights.tensor("linear.weight", &shape)?;
        let bias = config.bias.then(|| weights.tensor("linear.bias", &shape[..1])).transpose()?;
        let weights = Array2::from_shape_vec(shape, matrix)
            .map_err(|error| Error::model(format!("{name} has an impossible size")).with_source(error))?;
        Ok(Self { folder: folder.to_owned(), weights, bias, activation })
    }

    /// The number of dimensions that come out.
    pub(crate) fn outputs(&self) -> usize {
        self.weights.nrows()
    }

    /// The number of dimensions that go in.
    pub(crate) fn inputs(&self) -> usize {
        self.weights.ncols()
    }

    /// The module's output for each row.
    pub(crate) fn apply_rows(&self, rows: &Array2<f32>) -> Array2<f32> {
        let mut out = rows.dot(&self.weights.t());
        for mut row in out.rows_mut() {
            if let Some(bias) = &self.bias {
                row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
            }
            row.map_inplace(|x| *x = self.activation.of(*x));
        }
        out
    }

    fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut out = self.weights.dot(&ArrayView1::from(vector)).to_vec();
        if let Some(bias) = &self.bias {
            out.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
        out.iter_mut().for_each(|x| *x = self.activation.of(*x));
        out
    }
}

impl LayerNorm {
    /// Reads a module's folder.
    pub(super) fn read(files: &mut Files, folder: &str) -> Result<Self> {
        let config: LayerNormConfig = files.required_json(&format!("{folder}/config.json"))?;
        let weights = Weights::read(files, folder)?;
        let vector = |name: &str| weights.tensor(name, &[config.dimension]);
        Ok(Self { folder: folder.to_owned(), weight: vector("norm.weight")?, bias: vector("norm.bias")? })
    }

    fn apply(&self, vector: &mut [f32]) {
        let count = vector.len() as f64;
        let mean = vector.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let variance = vector.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        for ((x, weight), bias) in vector.iter_mut().zip(&self.weight).zip(&self.bias) {
            *x = ((f64::from(*x) - mean) * scale) as f32 * weight + bias;
        }
    }
}

impl DenseActivation {
    /// Reads a class name such as `torch.nn.modules.activation.Tanh`; none means Tanh, as in sentence-transformers.
    fn read(name: Option<&str>, file: &str) -> Result<Self> {
        let Some(name) = name else { return Ok(DenseActivation::Tanh) };
        let class = name.starts_with("torch.").then(|| name.rsplit('.').next()).flatten();
        Ok(match class {
            Some("Identity") => DenseActivation::Identity,
            Some("Tanh") => DenseActivation::Tanh,
            Some("ReLU") => DenseActivation::Relu,
            Some("GELU") => DenseActivation::Gelu,
            Some("Sigmoid") => DenseActivation::Sigmoid,
            Some("SiLU") => DenseActivation::Silu,
            _ => {
                return Err(Error::model(format!(
                    "{file} asks for the activation `{name}`; Identity, Tanh, ReLU, GELU, Sigmoid and SiLU of torch.nn \
                     are supported"
                )));
            }
        })
    }

    fn of(self, x: f32) -> f32 {
        match self {
            DenseActivation::Identity => x,
            DenseActivation::Tanh => x.tanh(),
            // A NaN stays one, to be reported.
            DenseActivation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            DenseActivation::Gelu => gelu(x),
            DenseActivation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            DenseActivation::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// The `model.safetensors` of a module.
struct Weights {
    name: String,
    bytes: std::borrow::Cow<'static, [u8]>,
}

impl Weights {
    fn read(files: &mut Files, folder: &str) -> Result<Self> {
        let name = format!("{folder}/model.safetensors");
        if let Some(bytes) = files.optional(&name)? {
            return Ok(Self { name, bytes });
        }
        let pickled = files.has(&format!("{folder}/pytorch_model.bin"));
        Err(Error::model(match pickled {
            true => format!(
                "{folder} of {} has its weights in pytorch_model.bin, a pickle, which is not read; load the model with \
                 sentence-transformers and save it again, which writes model.safetensors",
                files.name()
            ),
            false => format!("{} has no {name}, which is needed to run the model", files.name()),
        }))
    }

    fn tensor(&self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let unreadable = |error| Error::model(format!("{tensor} of {} cannot be read", self.name)).with_source(error);
        let view = SafeTensors::deserialize(&self.bytes).map_err(unreadable)?;
        let view = view.tensor(tensor).map_err(unreadable)?;
        if view.shape() != shape || shape.contains(&0) {
            return Err(Error::model(format!(
                "{tensor} of {} has the shape {:?}, and the module's config.json says {shape:?}",
                self.name,
                view.shape()
            )));
        }
        let halves = || view.data().as_chunks::<2>().0.iter();
        match view.dtype() {
            Dtype::F32 => Ok(view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Dtype::F16 => Ok(halves().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
            Dtype::BF16 => Ok(halves().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
            other => {
                Err(Error::model(format!("{tensor} of {} is {other:?}; F32, F16 and BF16 are supported", self.name)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_torchs() {
        // torch.nn.GELU()(torch.tensor([-1.5, 0.7])) and so on.
        let close = |activation: DenseActivation, x: f32, y: f32| assert!((activation.of(x) - y).abs() < 2e-6, "{x}");
        close(DenseActivation::Gelu, -1.5, -0.100_210_78);
        close(DenseActivation::Gelu, 0.7, 0.530_625_4);
        close(DenseActivation::Silu, -1.5, -0.273_638_55);
        close(DenseActivation::Sigmoid, 0.7, 0.668_187_74);
        close(DenseActivation::Tanh, 0.7, 0.604_367_8);
        assert_eq!((DenseActivation::Relu.of(-1.0), DenseActivation::Relu.of(2.0)), (0.0, 2.0));
        assert!(DenseActivation::Relu.of(f32::NAN).is_nan());
    }

    #[test]
    fn activation_names() {
        let read = |name| DenseActivation::read(name, "2_Dense/config.json");
        assert_eq!(read(None).unwrap(), DenseActivation::Tanh);
        assert_eq!(read(Some("torch.nn.modules.linear.Identity")).unwrap(), DenseActivation::Identity);
        for odd in ["torch.nn.modules.activation.PReLU", "my_module.Tanh"] {
            let message = read(Some(odd)).unwrap_err().to_string();
            assert!(message.contains(odd) && message.contains("2_Dense"), "{message}");
        }
    }

    #[test]
    fn a_vector_of_zeros_stays_one() {
        let mut zeros = [0.0; 3];
        normalize(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
