"""Export a cross-encoder or an embedding model to ONNX, and prove the copy.

The result has the layout of a repository on the Hugging Face Hub: `model.onnx`
in fp32 beside the tokenizer and the configuration files of the original.
Nothing is written unless ONNX Runtime gives the numbers torch gives.
"""

import argparse
import importlib.util
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

# LayerNormalization entered ONNX with opset 17, and ONNX Runtime reads it since
# 1.12: the lowest opset that still gives a graph without hand-made norms.
OPSET = 17
IR_VERSION = 8
TOLERANCE = 1e-4

CROSS_ENCODER = "cross-encoder"
EMBEDDING = "embedding"
OUTPUT_NAME = {CROSS_ENCODER: "logits", EMBEDDING: "last_hidden_state"}

TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
EMBEDDING_FILES = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"]

# Families that take a ready additive mask. Left to build it themselves, they export
# some twenty nodes that do the same for every kind of attention there is.
SIMPLE_MASK_FAMILIES = {"bert", "roberta", "xlm-roberta", "electra"}

# Lengths differ on purpose: in a batch the short ones are padded.
SAMPLES = [
    ("What year was Bitcoin created?", "Bitcoin was created in 2009 by Satoshi Nakamoto."),
    ("Can I use React without Node.js?", "Yes."),
    ("", "An empty query must not break anything."),
    ("Wie hoch ist die Zugspitze? 🏔", "Die Zugspitze ist 2962 m hoch – der höchste Berg Deutschlands. " * 12),
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
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))


def folder_in_package(root, name):
    """The folder inside an installed package that holds config.json and weights."""
    found = sorted(path.parent for path in root.rglob("model.safetensors"))
    found = [folder for folder in found if (folder / "config.json").is_file()]
    if len(found) != 1:
        raise SystemExit(f"package {name}: expected one model folder, found {len(found)}")
    return found[0]


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def model_kind(folder):
    """What the files say the model is; the head decides before the modules do."""
    architectures = read_json(folder / "config.json").get("architectures") or [""]
    if architectures[0].endswith("ForSequenceClassification"):
        return CROSS_ENCODER
    if (folder / "modules.json").is_file():
        return EMBEDDING
    raise SystemExit(f"{folder}: neither a sequence classifier nor a sentence-transformers model")


class OneOutput(torch.nn.Module):
    """Names the inputs in a fixed order and leaves only the output we ship."""

    def __init__(self, model, kind, input_names):
        super().__init__()
        self.model, self.input_names, self.output = model, input_names, OUTPUT_NAME[kind]
        self.simple_mask = model.config.model_type in SIMPLE_MASK_FAMILIES

    def forward(self, *inputs):
        named = dict(zip(self.input_names, inputs))
        if self.simple_mask:
            named["attention_mask"] = additive_mask(named["attention_mask"])
        return self.model(**named)[self.output]


def additive_mask(mask):
    """0 for a token, the lowest float for padding, ready to be added to all heads."""
    return (1.0 - mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min


def load_torch(folder, kind):
    """The model in fp32 with plain attention, which exports to plain nodes."""
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    if kind == CROSS_ENCODER:
        return AutoModelForSequenceClassification.from_pretrained(folder, **options).eval()
    # The pooler is not part of the sentence embedding; leave it out if we can.
    try:
        return AutoModel.from_pretrained(folder, add_pooling_layer=False, **options).eval()
    except TypeError:
        return AutoModel.from_pretrained(folder, **options).eval()


def tokenize(tokenizer, kind, samples):
    texts = [list(column) for column in zip(*samples)]
    if kind == EMBEDDING:
        texts = texts[1:]
    return tokenizer(*texts, padding=True, truncation=True, max_length=256, return_tensors="pt")


def export_graph(model, inputs, input_names, output_name, path):
    """Run torch's exporter with both axes left open."""
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            tuple(inputs[name] for name in input_names),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=input_names,
            output_names=[output_name],
            dynamic_shapes=(tuple(axes for _ in input_names),),
            external_data=False,
            verbose=False,
        )


def clean(model):
    """Drop what the exporter notes for debugging: paths, stack traces, versions.

    They say nothing about the model and would differ from machine to machine.
    """
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    graph.name = "crossrank"
    model.producer_name, model.producer_version = "crossrank", ""
    model.ir_version = IR_VERSION
    return model


def name_weights(model):
    """Call a linear layer's weight after its bias: the exporter loses its name."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    products = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        product = next((products[name] for name in node.input if name in products), None)
        bias = next((name for name in node.input if name in constants and name.endswith(".bias")), None)
        if node.op_type == "Add" and product is not None and bias and product.input[1] in constants:
            name = bias.removesuffix("bias") + "weight"
            constants[product.input[1]].name = name
            product.input[1] = name


def name_axes(model, output_name):
    """Give the open axes the names people look for in a model viewer."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param, dims[1].dim_param = "batch", "sequence"
    dims = model.graph.output[0].type.tensor_type.shape.dim
    dims[0].dim_param = "batch"
    if output_name == "last_hidden_state":
        dims[1].dim_param = "sequence"


def set_metadata(model, **values):
    """Write `crossrank.*` keys, replacing those that are there."""
    known = {entry.key: entry.value for entry in model.metadata_props}
    known.update({f"crossrank.{key}": value for key, value in values.items()})
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(known.items())))


def run_onnx(session, inputs, rows=slice(None)):
    wanted = [value.name for value in session.get_inputs()]
    return session.run(None, {name: inputs[name].numpy()[rows] for name in wanted})[0]


def largest_difference(path, model, tokenizer, kind, input_names):
    """Compare torch and ONNX Runtime alone and in padded batches, real tokens only."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    groups = [[sample] for sample in SAMPLES] + [SAMPLES, SAMPLES[1:3]]
    worst = 0.0
    for group in groups:
        inputs = tokenize(tokenizer, kind, group)
        with torch.no_grad():
            expected = model(*[inputs[name] for name in input_names]).numpy()
        actual = run_onnx(session, inputs)
        difference = np.abs(expected - actual)
        if kind == EMBEDDING:
            difference = difference[inputs["attention_mask"].numpy() == 1]
        worst = max(worst, float(difference.max()))
    return worst


def copy_config(source, out, kind):
    """Keep the original statements; for one-logit heads also say how to read them."""
    config = read_json(source / "config.json")
    config.pop("_name_or_path", None)
    if kind == CROSS_ENCODER and len(config.get("id2label", {})) == 1:
        # `num_labels` follows from id2label in transformers; other readers look for it.
        config["num_labels"] = 1
        config.setdefault("sentence_transformers", {}).setdefault(
            "activation_fn", "torch.nn.modules.activation.Sigmoid"
        )
    write_json(out / "config.json", config)


def copy_tokenizer(source, out):
    """Copy the tokenizer without baked-in padding or truncation.

    Some originals carry the settings of their last training run (all-MiniLM-L6-v2:
    cut at 128, pad to 128), which no library that loads them means to obey.
    """
    tokenizer = read_json(source / "tokenizer.json")
    tokenizer["padding"] = tokenizer["truncation"] = None
    (out / "tokenizer.json").write_text(
        json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    for name in TOKENIZER_FILES[1:]:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def copy_modules(source, out):
    """Copy what tells sentence-transformers (and crossrank) how to pool."""
    for name in EMBEDDING_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    for module in read_json(source / "modules.json"):
        folder = source / module["path"]
        if module["path"] and folder.is_dir():
            for path in sorted(folder.rglob("*.json")):
                target = out / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def export(name, out, base=None):
    """Export the model called `name` into the folder `out`; returns the difference."""
    source = find_model(name)
    kind = model_kind(source)
    tokenizer = AutoTokenizer.from_pretrained(source)
    inputs = tokenize(tokenizer, kind, SAMPLES)
    input_names = [key for key in ("input_ids", "attention_mask", "token_type_ids") if key in inputs]
    model = OneOutput(load_torch(source, kind), kind, input_names)

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export_graph(model, inputs, input_names, OUTPUT_NAME[kind], path)
        graph = clean(onnx.load(path))
        name_weights(graph)
        name_axes(graph, OUTPUT_NAME[kind])
        set_metadata(graph, precision="fp32", base=base or Path(name).name)
        onnx.save(graph, path)
        difference = largest_difference(path, model, tokenizer, kind, input_names)
        print(f"{kind}: largest difference from torch {difference:.2e} (limit {TOLERANCE:.0e})")
        if not difference <= TOLERANCE:
            raise SystemExit("the export differs from torch; nothing was written")
        shutil.copyfile(path, out / "model.onnx")

    copy_config(source, out, kind)
    copy_tokenizer(source, out)
    if kind == EMBEDDING:
        copy_modules(source, out)
    return difference


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="a folder with config.json and weights, an installed package that carries one, or a Hub id")
    parser.add_argument("out", type=Path, help="the folder to write (made if missing)")
    parser.add_argument("--base", help="the name to note in model.onnx as crossrank.base (default: the last part of MODEL)")
    args = parser.parse_args()
    export(args.model, args.out, args.base)


if __name__ == "__main__":
    main()
