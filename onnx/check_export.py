"""Check export.py with a tiny model of every family, in every precision.

Each model has the random weights of a test fixture (`tests/fixtures/recipes`), is written as a checkpoint, and is
exported. export.py compares each graph with torch; here the smaller ones are also compared with the fp32 graph whose
weights were rounded in the same way, and the files are looked at. With `--crossrank` the program ranks texts with each
folder, and its scores are compared with those that transformers and sentence-transformers gave for the fixture
(`expected.json`).

    python onnx/check_export.py --crossrank target/release/crossrank
    python onnx/check_export.py deberta-v3-cross-encoder monot5
"""

import argparse
import contextlib
import copy
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
sys.path.insert(0, str(FIXTURES))

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from onnx import numpy_helper
from recipes.checkpoints import CHECKPOINTS
from recipes.texts import QUERY, TEXTS

import graph as graphs
from export import PRECISIONS, compare, export, plain_graph, run_onnx, write

# The fixtures' layers are 32 wide: with quantize.py's own limit nothing would be rounded.
SMALLEST = 500
FUSED = "fused"
SMALLER = ("fp16", "int8", "q4")
VARIANTS = (*PRECISIONS, FUSED)

# The largest difference of a rounded graph from the fp32 graph with the same weights rounded, as a part of the largest
# number. How far both are from torch says more about the random weights than about the files.
ROUNDING_LIMIT = 1e-4
# What crossrank may differ from the fixture's numbers in fp32.
SCORE_LIMIT = 1e-4


class Cell(NamedTuple):
    """One export: its difference from torch, its size, crossrank's difference from the fixture, and what is wrong."""

    difference: float
    size: int
    score: float | None
    faults: list


def checkpoint(folder, name):
    """A new folder with the checkpoint of that name."""
    folder.mkdir()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        CHECKPOINTS[name](folder)
    return folder


def attempt(work, *arguments, **options):
    """(what `work` gives, None), or (None, why it could not); what it prints is shown with unforeseen errors."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return work(*arguments, **options), None
    except SystemExit as error:
        return None, str(error)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}\n{said.getvalue()}"


def write_variant(plain, out, variant):
    """One variant of a graph that others will be made of too."""
    plain = plain._replace(graph=copy.deepcopy(plain.graph))
    return write(plain, out, "fp32" if variant == FUSED else variant, variant == FUSED, SMALLEST)


class Rounded:
    """The fp32 graph with its weights rounded as a precision has them, to be compared with like an original."""

    def __init__(self, graph, variant):
        model = copy.deepcopy(graph)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            position = 0 if node.op_type == "Gather" else 1
            if node.op_type not in ("Gather", "MatMul", "Gemm") or node.input[position] not in tensors:
                continue
            values = numpy_helper.to_array(tensors[node.input[position]])
            if values.ndim == 2 and values.size >= SMALLEST and values.dtype == np.float32:
                # Its own copy: a table that is looked up and multiplied with is rounded in two ways.
                name = f"{node.input[position]}.{len(model.graph.initializer)}"
                model.graph.initializer.append(numpy_helper.from_array(rounded(values, node, variant), name))
                node.input[position] = name
        used = {name for node in model.graph.node for name in node.input}
        kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def reference(self, inputs):
        return torch.from_numpy(run_onnx(self.session, inputs))


def rounded(values, node, variant):
    if variant == "fp16":
        return values.astype(np.float16).astype(np.float32)
    if node.op_type == "Gather" or any(item.name == "transB" and item.i for item in node.attribute):
        return steps(values, 1, 127)
    inputs, outputs = values.shape
    block, largest = {"int8": (128, 127), "q4": (32, 7)}[variant]
    if node.op_type == "Gemm" or inputs % block:
        return steps(values, 0, 127)
    return steps(values.reshape(-1, block, outputs), 1, largest).reshape(inputs, outputs)


def steps(values, axis, largest):
    """The nearest of the 2 · largest + 1 equidistant values up to the largest one of the axis."""
    step = np.abs(values).max(axis=axis, keepdims=True) / largest
    step[step == 0] = 1
    return (np.rint(values / step) * step).astype(np.float32)


def faults_of(out, variant, plain, plain_size):
    """What is wrong with an exported folder."""
    faults = []
    model = onnx.load(out / "model.onnx")
    if variant != FUSED:  # the checker knows none of ONNX Runtime's own operators outside their domain
        onnx.checker.check_model(str(out / "model.onnx"))
    names = [tensor.name for tensor in model.graph.initializer]
    if len(names) != len(set(names)):
        faults.append("two tensors have the same name")
    operators = Counter((node.domain, node.op_type) for node in model.graph.node)
    if variant == "q4" and not operators["com.microsoft", "MatMulNBits"]:
        faults.append("no layer has 4 bits")
    if variant == FUSED and not any(domain for domain, _ in operators):
        faults.append("nothing is fused")
    if variant in SMALLER:
        if not size_of(out) < 0.8 * plain_size:
            faults.append("it is not smaller")
        faults += rounding_faults(out, variant, plain)
    for name in ("config.json", "tokenizer.json"):
        if not (out / name).is_file():
            faults.append(f"{name} is missing")
    return faults


def rounding_faults(out, variant, plain):
    """Nothing, where the numbers are those of the fp32 graph with rounded weights."""
    found = compare(out / "model.onnx", plain.reference._replace(model=Rounded(plain.graph, variant)))
    largest = max(1.0, abs(found.lowest), abs(found.highest))
    if not found.difference <= ROUNDING_LIMIT * largest:
        yield f"{found.difference:.1e} from the fp32 graph with rounded weights, the largest number is {largest:.1f}"


def size_of(out):
    return sum(path.stat().st_size for path in out.glob("model.onnx*"))


# crossrank -----------------------------------------------------------------------------------------


def run(program, arguments, text):
    done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"crossrank {arguments[0]} exits with {done.returncode}: {done.stderr.strip()[:300]}")
    return json.loads(done.stdout)


def largest(pairs):
    return max(abs(mine - theirs) for mine, theirs in pairs)


def reranker_difference(program, out, expected):
    """The largest difference of crossrank's scores for the documents of the fixtures' query."""
    rows = [row for row in expected.get("pairs") or expected["late"] if row["query"] == QUERY]
    lines = "".join(json.dumps({"text": row["document"]}) + "\n" for row in rows)
    answer = run(program, ["rerank", "--reranker", str(out), "--query", QUERY, "--input", "jsonl", "--format", "json"], lines)
    scores = {result["index"]: result["relevance_score"] for result in answer["results"]}
    return largest((scores[n], row["score"]) for n, row in enumerate(rows))


def vectors(expected):
    """The fixture's vectors of the first text as a query, and of all others as documents."""
    if "queries" in expected:
        return expected["queries"][0]["embedding"], [row["embedding"] for row in expected["documents"][1:]]
    rows = [row["embeddings"]["mean+normalize"] for row in expected["texts"]]
    return rows[0], rows[1:]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def embedder_difference(program, out, expected):
    """The largest difference of crossrank's cosine similarities of the first text to all others."""
    cases = {"cases": [{"name": "texts", "query": TEXTS[0], "documents": TEXTS[1:]}]}
    answer = run(program, ["compare", "--embedder", str(out), "--cases", "-", "--format", "json"], json.dumps(cases))
    scores = {result["index"]: result["score"] for result in answer["cases"][0]["embedding"]}
    query, documents = vectors(expected)
    return largest((scores[n], cosine(query, document)) for n, document in enumerate(documents))


def score_difference(program, out, name):
    expected = json.loads((FIXTURES / name / "expected.json").read_text(encoding="utf-8"))
    is_reranker = "pairs" in expected or "late" in expected
    return (reranker_difference if is_reranker else embedder_difference)(program, out, expected)


# The families --------------------------------------------------------------------------------------


def check_variant(plain, out, name, variant, plain_size, program):
    result, error = attempt(write_variant, plain, out, variant)
    if error:
        return None, Cell(math.nan, 0, None, [error])
    faults = faults_of(out, variant, plain, plain_size)
    score = None
    if program:
        try:
            score = score_difference(program, out, name)
        except (ValueError, KeyError) as error:
            faults.append(str(error))
        if score is not None and variant in ("fp32", FUSED) and not score <= SCORE_LIMIT:
            faults.append(f"crossrank's scores differ by {score:.1e}")
    return result, Cell(result.written.difference, size_of(out), score, faults)


def check_family(name, folder, program):
    """What is said of the family, and a cell for each variant."""
    plain, error = attempt(plain_graph, str(checkpoint(folder / "checkpoint", name)))
    if error:
        return ["?", "?", "?"], {"fp32": Cell(math.nan, 0, None, [error])}
    cells, plain_size, highest = {}, math.inf, math.nan
    for variant in VARIANTS:
        if variant == FUSED and plain.reference.model.model.config.model_type not in graphs.FUSED_FAMILIES:
            continue
        result, cells[variant] = check_variant(plain, folder / variant, name, variant, plain_size, program)
        if variant == "fp32" and result:
            plain_size, highest = cells[variant].size, max(abs(result.fp32.lowest), abs(result.fp32.highest))
    return [plain.reference.kind, plain.exporter, f"{highest:.1f}"], cells


def row_of(name, about, cells):
    columns = [name, *about]
    for variant in VARIANTS:
        cell = cells.get(variant)
        if cell is None:
            columns.append("–")
            continue
        score = f", {cell.score:.0e}" if cell.score is not None else ""
        columns.append(f"{cell.difference:.0e}{score}, {cell.size / 1024:.0f} KB{' **fails**' if cell.faults else ''}")
    return "| " + " | ".join(columns) + " |"


def check_families(names, program):
    """Print the table; returns the faults, one line each."""
    print("| family | kind | exporter | largest number | " + " | ".join(VARIANTS) + " |")
    print("| --- " * (len(VARIANTS) + 4) + "|")
    faults = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            about, cells = check_family(name, Path(folder), program)
        print(row_of(name, about, cells), flush=True)
        faults += [f"{name}, {variant}: {fault}" for variant, cell in cells.items() for fault in cell.faults]
    return faults


# Special cases -------------------------------------------------------------------------------------


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def no_pad_token(folder):
    """Language models' tokenizers often have none."""
    source = checkpoint(folder / "source", "qwen3-reranker")
    (source / "special_tokens_map.json").unlink()
    settings = json.loads((source / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (source / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    yield from expect_export(source, folder / "out")


def unknown_token_types(folder):
    """BERT's tokenizer beside a DistilBERT gives token types, which the model does not take."""
    source = checkpoint(folder / "source", "distilbert-cross-encoder")
    change_json(source / "tokenizer_config.json", model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    yield from expect_export(source, folder / "out")


def gemma2(source):
    """A language model whose own code does something to its logits: Gemma 2 caps them."""
    from recipes.language_models import gemma_tokenizer

    source.mkdir()
    tokenizer = gemma_tokenizer(source)
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        intermediate_size=64, final_logit_softcapping=0.05, initializer_range=1.0,
    )  # fmt: skip
    transformers.Gemma2ForCausalLM(config).save_pretrained(source)
    (source / "1_LogitScore").mkdir()
    words = tokenizer.convert_tokens_to_ids(["Yes", "▁"])
    (source / "1_LogitScore" / "config.json").write_text(json.dumps({"true_token_id": words[0], "false_token_id": words[1]}))
    modules = [("", "sentence_transformers.base.modules.Transformer"), ("1_LogitScore", "sentence_transformers.cross_encoder.modules.LogitScore")]
    listed = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(modules)]
    (source / "modules.json").write_text(json.dumps(listed))
    return source


def capped_logits(folder):
    """What the model does to its logits is in the graph."""
    yield from expect_export(gemma2(folder / "source"), folder / "out")


def fused_and_smaller(folder):
    """Both options together."""
    for name in ("bert-cross-encoder", "modernbert-cross-encoder"):
        plain, error = attempt(plain_graph, str(checkpoint(folder / name, name)), optimize=True)
        if error:
            yield f"{name}: {error}"
            continue
        for variant in SMALLER:
            copied, out = plain._replace(graph=copy.deepcopy(plain.graph)), folder / f"{name}-{variant}"
            _, error = attempt(write, copied, out, variant, True, SMALLEST)
            yield from [f"{name}, {variant}: {error}"] if error else rounding_faults(out, variant, plain)


def external_data(folder):
    """Above 2 GB the weights are in a file beside the graph, and only there."""
    source = checkpoint(folder / "source", "bert-cross-encoder")
    largest_file, graphs.LARGEST_FILE = graphs.LARGEST_FILE, 10_000
    try:
        plain, error = attempt(plain_graph, str(source))
        if error:
            yield error
            return
        for variant in VARIANTS:
            out = folder / variant
            yield from expect_variant(plain, out, variant)
            found = sorted(path.name for path in out.glob("model.onnx*"))
            if found != ["model.onnx", graphs.EXTERNAL_NAME] or size_of(out) - (out / "model.onnx").stat().st_size < 10_000:
                yield f"{variant}: the weights are not in {graphs.EXTERNAL_NAME}: {found}"
        graphs.LARGEST_FILE = 100_000  # fp32 is larger, int8 is not
        yield from expect_variant(plain, folder / "fp32", "int8")
        if [path.name for path in (folder / "fp32").glob("model.onnx*")] != ["model.onnx"]:
            yield "int8: an earlier export's external data stayed"
    finally:
        graphs.LARGEST_FILE = largest_file


def refused(folder):
    """What cannot be exported is refused in one line, and nothing is written."""
    for name, part, spoil in REFUSED:
        source = checkpoint(folder / name, "bert-cross-encoder")
        source = spoil(source) or source
        out = folder / f"{name}-out"
        result, error = attempt(export, str(source), out)
        if result is not None:
            yield f"{name}: it was exported"
        elif "\n" in error or part not in error:
            yield f"{name}: {error}"
        elif out.exists():
            yield f"{name}: something was written"
    _, error = attempt(plain_graph, str(gemma2(folder / "fused")), optimize=True)
    if not error or "--optimize" not in error:
        yield f"fused: {error}"


def spoil_weights(source):
    from safetensors.torch import load_file, save_file

    tensors = load_file(source / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, source / "model.safetensors", {"format": "pt"})


def without(*names):
    def spoil(source):
        for name in names:
            (source / name).unlink(missing_ok=True)

    return spoil


def cut(name):
    return lambda source: (source / name).write_bytes((source / name).read_bytes()[:1000]) and None


def declare(**values):
    return lambda source: change_json(source / "config.json", **values)


# name → a part of the message, and what is done to a checkpoint (or which folder is taken in its place)
REFUSED = [
    ("missing-folder", "no such folder", lambda source: Path("/nowhere/at/all")),
    ("no-config", "no config.json", without("config.json")),
    ("no-tokenizer", "tokenizer", without("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")),
    ("broken-tokenizer", "tokenizer cannot be loaded", cut("tokenizer.json")),
    ("no-weights", "cannot be loaded", without("model.safetensors")),
    ("half-the-weights", "cannot be loaded", cut("model.safetensors")),
    ("a-weight-is-missing", "lack 1 tensors", spoil_weights),
    ("wrong-kind", "not known what to make of a BertForMaskedLM", declare(architectures=["BertForMaskedLM"])),
    ("unknown-family", "cannot be loaded", declare(model_type="nonesuch")),
    ("wrong-shapes", "cannot be loaded", declare(hidden_size=48)),
    ("broken-config", "config.json", lambda source: (source / "config.json").write_text("{") and None),
]


def expect_export(source, out):
    plain, error = attempt(plain_graph, str(source))
    if error:
        yield error
    else:
        yield from expect_variant(plain, out, "fp32")


def expect_variant(plain, out, variant):
    _, error = attempt(write_variant, plain, out, variant)
    if error:
        yield f"{variant}: {error}"
    else:
        yield from (f"{variant}: {fault}" for fault in faults_of(out, variant, plain, math.inf))


SPECIAL = [no_pad_token, unknown_token_types, capped_logits, fused_and_smaller, external_data, refused]


def check_special():
    faults = []
    for check in SPECIAL:
        with tempfile.TemporaryDirectory() as folder:
            found = list(check(Path(folder)))
        print(f"{check.__name__.replace('_', ' ')}: {'fails' if found else 'as it should be'}", flush=True)
        faults += [f"{check.__name__.replace('_', ' ')}, {fault}" for fault in found]
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"fixtures' names (default: all, and the special cases): {', '.join(CHECKPOINTS)}")
    parser.add_argument("--crossrank", metavar="PROGRAM", help="also let this crossrank rank texts with each folder")
    args = parser.parse_args()
    unknown = [name for name in args.families if name not in CHECKPOINTS]
    if unknown:
        parser.error(f"no such family: {', '.join(unknown)}")
    if args.crossrank and not Path(args.crossrank).is_file():
        parser.error(f"{args.crossrank}: there is no such program")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    faults = check_families(args.families or CHECKPOINTS, args.crossrank)
    if not args.families:
        faults += check_special()
    for fault in faults:
        print(fault, file=sys.stderr)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
