"""Export a reranker or an embedding model to ONNX, and prove the copy.

The result has the layout of a repository on the Hugging Face Hub: `model.onnx` beside
the tokenizer and the configuration files of the original. Nothing is written unless
ONNX Runtime gives the numbers that the original library gives. In a smaller precision
the differences are printed, and the fp32 graph that it was made of is held to the limit.
"""

import argparse
import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from transformers import AutoTokenizer

import graph as graphs
from heads import CROSS_ENCODER, EMBEDDING, LATE_INTERACTION, OUTPUT_NAME, first_line, load, model_kind, modules, read_json
from quantize import SMALLEST_WEIGHT, quantize

TOLERANCE = 1e-4

TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LAYOUT_FILES = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "artifact.metadata"]

# What `--precision` makes of the fp32 graph (see quantize.py).
PRECISIONS = {"fp32": None, "fp16": "fp16-weights", "int8": "int8-weights", "q4": "q4-blocks"}

# Lengths differ on purpose: in a batch the short ones are padded.
SAMPLES = [
    ("What year was Bitcoin created?", "Bitcoin was created in 2009 by Satoshi Nakamoto."),
    ("Can I use React without Node.js?", "Yes."),
    ("", "An empty query must not break anything."),
    ("Wie hoch ist die Zugspitze? 🏔", "Die Zugspitze ist 2962 m hoch – der höchste Berg Deutschlands. " * 12),
]

# A graph may hold the length that it was exported with: no text was longer than EXPORTED_TOKENS
# then, and some that it is compared on are.
EXPORTED_TOKENS, COMPARED_TOKENS = 256, 512

# Only compared, never exported with.
LONG = [("Wie hoch ist die Zugspitze? 🏔", SAMPLES[3][1] * 6)]
MORE_TEXTS = [
    ("symptoms of iron deficiency", "Fatigue, pale skin and shortness of breath are common when the body lacks iron."),
    ("symptoms of iron deficiency", "Iron is smelted from ore in a blast furnace at about 1,500 °C."),
    ("how to undo the last git commit", "git reset --soft HEAD~1 moves the branch back and keeps your changes staged."),
    ("東京の人口は?", "東京都の人口は約1,400万人で、日本で最も多い。"),
]


def find_model(name):
    """The folder of a model given as a folder, an installed package or a Hub id."""
    if Path(name).is_dir():
        return Path(name)
    spec = None
    if "/" not in name:
        spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is not None:
        return folder_in_package(Path(spec.origin).parent, name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise SystemExit(f"{name}: there is no such folder, and it is neither an installed package nor a Hub id (ORG/NAME)")
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "artifact.metadata"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # offline, gated, missing: all said in its message
        raise SystemExit(f"{name}: cannot be fetched from the Hub: {error}") from None


def folder_in_package(root, name):
    """The folder inside an installed package that holds config.json and weights."""
    found = sorted(path.parent for path in root.rglob("model.safetensors"))
    found = [folder for folder in found if (folder / "config.json").is_file()]
    if len(found) != 1:
        raise SystemExit(f"package {name}: expected one model folder, found {len(found)}")
    return found[0]


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def tokenize(tokenizer, kind, samples, limit):
    texts = [list(column) for column in zip(*samples)]
    if kind in (EMBEDDING, LATE_INTERACTION):
        texts = texts[1:]
    elif kind != CROSS_ENCODER:
        # The prompt decides nothing about the graph: any text will do.
        texts = [[f"Query: {query} Document: {document} Relevant:" for query, document in samples]]
    return tokenizer(*texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")


def length_limits(source, tokenizer):
    """The most tokens of a text that the model is exported with, and of one that it is compared on."""
    config = read_json(source / "config.json")
    positions = config.get("max_position_embeddings") or COMPARED_TOKENS
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        pad = config.get("pad_token_id")
        positions -= (1 if pad is None else pad) + 1
    compared = int(min(COMPARED_TOKENS, positions, tokenizer.model_max_length))
    exported = min(EXPORTED_TOKENS, compared - compared // 4)
    if compared < EXPORTED_TOKENS:
        print(f"it takes {compared} tokens: it is exported with texts of up to {exported}, and compared on some of {compared}")
    return exported, compared


def run_onnx(session, inputs):
    wanted = [value.name for value in session.get_inputs()]
    return session.run(None, {name: inputs[name].numpy() for name in wanted})[0]


class Comparison(NamedTuple):
    """The largest difference from the original library, and the range of its numbers."""

    difference: float
    lowest: float
    highest: float

    def close(self):
        return self.difference <= TOLERANCE * max(1.0, abs(self.lowest), abs(self.highest))


def compare(path, reference):
    """With the original library, in batches of one text and in padded ones."""
    kind, model, tokenizer, limit = reference
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    texts = SAMPLES + MORE_TEXTS + LONG
    groups = [[sample] for sample in texts] + [SAMPLES, SAMPLES[1:3], MORE_TEXTS, LONG + SAMPLES[:2]]
    worst, lowest, highest = 0.0, np.inf, -np.inf
    for group in groups:
        inputs = tokenize(tokenizer, kind, group, limit)
        with torch.no_grad():
            expected = model.reference(inputs).numpy()
        difference = np.abs(expected - run_onnx(session, inputs))
        if kind in (EMBEDDING, LATE_INTERACTION):
            real = inputs["attention_mask"].numpy() == 1
            difference, expected = difference[real], expected[real]
        if not np.isfinite(difference).all():
            return Comparison(np.inf, lowest, highest)
        worst = max(worst, float(difference.max()))
        lowest, highest = min(lowest, float(expected.min())), max(highest, float(expected.max()))
    return Comparison(worst, lowest, highest)


def copy_config(source, out, kind):
    """Keep the original statements; for one-logit heads also say how to read them."""
    config = read_json(source / "config.json")
    config.pop("_name_or_path", None)
    if kind == CROSS_ENCODER and len(config.get("id2label", {})) == 1:
        # `num_labels` follows from id2label in transformers; other readers look for it.
        config["num_labels"] = 1
        if config.get("sbert_ce_default_activation_function") is None:
            config.setdefault("sentence_transformers", {}).setdefault(
                "activation_fn", "torch.nn.modules.activation.Sigmoid"
            )
    write_json(out / "config.json", config)


def copy_tokenizer(source, out, tokenizer):
    """Copy the tokenizer without baked-in padding or truncation.

    Some originals carry the settings of their last training run (all-MiniLM-L6-v2:
    cut at 128, pad to 128), which no library that loads them means to obey. Originals
    with a SentencePiece file alone get the tokenizer.json that transformers makes of it.
    """
    path = source / "tokenizer.json"
    fast = read_json(path) if path.is_file() else json.loads(tokenizer.backend_tokenizer.to_str())
    fast["padding"] = fast["truncation"] = None
    (out / "tokenizer.json").write_text(json.dumps(fast, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    for name in TOKENIZER_FILES[1:]:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def copy_layout(source, out, kind):
    """Copy what tells sentence-transformers (and crossrank) what comes before and after the graph."""
    for name in LAYOUT_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    for _, folder in modules(source):
        if folder == source or not folder.is_dir():
            continue
        # The weights of Dense and LayerNorm modules are small, and are read from there.
        for path in sorted([*folder.rglob("*.json"), *folder.rglob("model.safetensors")]):
            target = out / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    if kind == LATE_INTERACTION and (out / "modules.json").is_file():
        # The projection is in the graph.
        listed = read_json(out / "modules.json")
        for kind, folder in modules(source):
            if kind == "Dense" and folder != source:
                shutil.rmtree(out / folder.relative_to(source), ignore_errors=True)
        write_json(out / "modules.json", [module for module in listed if not module["type"].endswith(".Dense")])


def load_tokenizer(source):
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # every class of tokenizers has its own
        raise SystemExit(f"{source}: the tokenizer cannot be loaded: {first_line(error)}") from None
    if not (source / "tokenizer.json").is_file() and not tokenizer.is_fast:
        raise SystemExit(f"{source}: there is no tokenizer.json, and none can be made of a {type(tokenizer).__name__}")
    # Of an empty folder transformers makes a tokenizer that knows special tokens only.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise SystemExit(f"{source}: there is no tokenizer: its folder has a tokenizer.json, or what transformers makes one of")
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        # Padding is masked: any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def find_checkpoint(name):
    """The folder of a model with its configuration, checked."""
    source = find_model(name)
    if not (source / "config.json").is_file():
        raise SystemExit(f"{source}: there is no config.json: a model's folder has one, beside its weights")
    try:
        read_json(source / "config.json")
    except ValueError as error:
        raise SystemExit(f"{source / 'config.json'}: {first_line(error)}") from None
    return source


class Reference(NamedTuple):
    """What a graph is compared with: the original's module, its tokenizer, and the longest text in tokens."""

    kind: str
    model: torch.nn.Module
    tokenizer: transformers.PreTrainedTokenizerBase
    limit: int


class Plain(NamedTuple):
    """A checkpoint's graph in fp32, not yet compared, and the exporter that made it."""

    source: Path
    reference: Reference
    exporter: str
    graph: onnx.ModelProto


def plain_graph(name, base=None, optimize=False):
    """Export the model called `name`; `optimize` says whether its graph will be fused."""
    source = find_checkpoint(name)
    kind = model_kind(source)
    tokenizer = load_tokenizer(source)
    exported_tokens, compared_tokens = length_limits(source, tokenizer)
    inputs = tokenize(tokenizer, kind, SAMPLES, exported_tokens)
    model = load(source, kind, tokenizer, [key for key in INPUTS if key in inputs]).eval()
    if optimize:
        graphs.refuse_unfused(model.model.config)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        exporter = graphs.export_graph(model, inputs, OUTPUT_NAME[kind], path)
        graph = graphs.clean(onnx.load(path))
    graphs.share_constants(graph)
    graphs.name_weights(graph)
    graphs.drop_unused_inputs(graph)
    graphs.name_axes(graph, OUTPUT_NAME[kind])
    graphs.set_metadata(graph, precision="fp32", base=base or Path(name).name)
    return Plain(source, Reference(kind, model, tokenizer, compared_tokens), exporter, graph)


class Result(NamedTuple):
    """How far the fp32 graph and the written one are from the original library."""

    fp32: Comparison
    written: Comparison


def write(plain, out, precision="fp32", optimize=False, smallest=SMALLEST_WEIGHT):
    """Write the folder `out`, if all is well; weights of fewer than `smallest` numbers stay in fp32. The graph is changed."""
    source, reference, _, graph = plain
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        written = fp32 = check(graph, path, reference, "fp32")
        if optimize:
            graph = graphs.fuse(graph, path, reference.model.model.config)
            written = check(graph, path, reference, "fused by ONNX Runtime's optimiser")
        if precision != "fp32":
            graph = quantize(graph, PRECISIONS[precision], smallest=smallest)
            written = check(graph, path, reference, precision, rounded=True)
        out.mkdir(parents=True, exist_ok=True)
        (out / graphs.EXTERNAL_NAME).unlink(missing_ok=True)  # of an earlier, larger model
        for file in sorted(Path(scratch).iterdir()):
            shutil.copyfile(file, out / file.name)
    copy_config(source, out, reference.kind)
    copy_tokenizer(source, out, reference.tokenizer)
    copy_layout(source, out, reference.kind)
    return Result(fp32, written)


def check(graph, path, reference, what, rounded=False):
    """Save the graph and compare it; ends the program where it must not be used."""
    graphs.save(graph, path)
    found = compare(path, reference)
    numbers = f"numbers from {found.lowest:.3f} to {found.highest:.3f}"
    print(f"{reference.kind}, {what}: largest difference from torch {found.difference:.2e} ({numbers})")
    if not np.isfinite(found.difference):
        raise SystemExit(f"{what}: numbers that are not finite; nothing was written")
    if not rounded and not found.close():
        raise SystemExit(f"{what}: more than {TOLERANCE:.0e} (of the largest number) from torch; nothing was written")
    return found


def export(name, out, base=None, precision="fp32", optimize=False):
    """Export the model called `name` into the folder `out`."""
    return write(plain_graph(name, base, optimize), out, precision, optimize)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="a folder with config.json and weights, an installed package that carries one, or a Hub id")
    parser.add_argument("out", type=Path, help="the folder to write (made if missing)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="how weights are stored (default fp32)")
    parser.add_argument(
        "--optimize", action="store_true",
        help="fuse nodes into ONNX Runtime's own operators: for other programs; crossrank's kernels look for the plain graph",
    )  # fmt: skip
    parser.add_argument("--base", help="the name to note in model.onnx as crossrank.base (default: the last part of MODEL)")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    export(args.model, args.out, args.base, args.precision, args.optimize)
    size = sum(file.stat().st_size for file in args.out.glob("model.onnx*"))
    print(f"{args.out}: model.onnx with {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
