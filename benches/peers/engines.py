"""The engines: what runs each of them, on which weights, with which options."""

from dataclasses import dataclass, field

FP32, INT16, BF16, INT8 = "fp32", "int16", "bf16", "int8"
PRECISIONS = [FP32, INT16, BF16, INT8]

# Folders that prepare.py makes from the checkpoint; the first is the checkpoint itself.
CHECKPOINT, ONNX_FP32, ONNX_INT8, OPENVINO = "checkpoint", "onnx-fp32", "onnx-int8", "openvino"

OURS = "crossrank"


@dataclass(frozen=True)
class Engine:
    """One way to score pairs, in one precision."""

    family: str
    """What the table and the plot call it, the same for all its precisions."""
    precision: str
    program: str
    """`crate/NAME` for a driver in Rust, `VENV/NAME` for `drivers/NAME.py` run by that virtual environment."""
    weights: str
    options: tuple = ()
    tune: tuple = ()
    """(KEY, values…): the value with which 100 mixed documents run fastest is found before the measurement."""
    variant: str = field(default="", kw_only=True)
    """Part of the family's name that tells variants of one engine apart."""

    @property
    def key(self):
        """The name for `--only`."""
        return "-".join(f"{self.family} {self.variant} {self.precision}".lower().replace(",", "").split())

    @property
    def title(self):
        return f"{self.family}, {self.variant}" if self.variant else self.family

    @property
    def needs(self):
        """The crate or the virtual environment."""
        kind, name = self.program.split("/")
        return f"crate {name}" if kind == "crate" else f"venv {kind}"


def both(*arguments, **named):
    """An engine that takes an ONNX file, with the fp32 and with the int8 file."""
    family, program, *rest = arguments
    return [
        Engine(family, FP32, program, ONNX_FP32, *rest, **named),
        Engine(family, INT8, program, ONNX_INT8, *rest, **named),
    ]


ENGINES = [
    Engine(OURS, FP32, "crate/crossrank", ONNX_FP32),
    Engine(OURS, INT16, "crate/crossrank", ONNX_FP32, ("compute=int16",)),
    # Its int8 is made of the fp32 file when it is loaded, with 16 bits where a score depends on them most, or without any
    # (w8a8: the peers' int8 has none either); the last one runs the file that the peers run.
    Engine(OURS, INT8, "crate/crossrank", ONNX_FP32, ("compute=int8",)),
    Engine(OURS, INT8, "crate/crossrank", ONNX_FP32, ("compute=w8a8",), variant="w8a8"),
    Engine(OURS, INT8, "crate/crossrank", ONNX_INT8, variant="int8 file"),
    *both("fastembed-rs", "crate/fastembed", variant="defaults"),
    *both("fastembed-rs", "crate/fastembed", (), ("batch", 1, 2, 8), variant="best batch"),
    *both("FlashRank", "plain/flashrank_ranker"),
    Engine("sentence-transformers", FP32, "torch/sentence_transformers_cross_encoder", CHECKPOINT, variant="torch"),
    *both(
        "sentence-transformers", "st-onnx/sentence_transformers_cross_encoder", ("backend=onnx",), variant="ONNX"
    ),
    *(
        Engine(
            "sentence-transformers", precision, "st-openvino/sentence_transformers_cross_encoder", OPENVINO,
            ("backend=openvino", f"precision={hint}"), variant="OpenVINO",
        )
        for precision, hint in ((FP32, "f32"), (BF16, "bf16"))
    ),
    *(
        Engine(
            "OpenVINO", precision, "plain/openvino_tuned", weights, (f"precision={hint}",),
            ("budget", 256, 1024), variant="tuned",
        )
        for precision, hint, weights in (
            (FP32, "f32", ONNX_FP32), (BF16, "bf16", ONNX_FP32), (INT8, "f32", ONNX_INT8),
        )
    ),
    Engine("Infinity", FP32, "infinity/infinity_engine", CHECKPOINT, ("engine=torch",), variant="torch"),
    *both("Infinity", "infinity/infinity_engine", ("engine=optimum",), variant="optimum"),
    *both("ONNX Runtime", "plain/plain_onnxruntime", variant="batches of 32"),
    *both("ONNX Runtime", "plain/plain_onnxruntime", ("sort=tokens",), variant="sorted, batches of 32"),
]  # fmt: skip

# What every other engine's scores are compared with.
REFERENCE = next(engine for engine in ENGINES if engine.variant == "torch" and engine.weights == CHECKPOINT)

# The largest difference of a logit from torch's fp32 that is put down to the precision. (Dynamic quantisation rounds by
# what else is in the batch: up to 1 was seen with plain ONNX Runtime.)
TOLERANCE = {FP32: 1e-3, INT16: 0.05, BF16: 0.3, INT8: 2.0}
