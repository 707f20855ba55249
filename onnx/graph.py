"""From a torch module to a tidy ONNX graph: the exporter, the cleaning, the metadata, the file."""

import hashlib
import logging
import warnings
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import torch

# LayerNormalization entered ONNX with opset 17, and ONNX Runtime reads it since
# 1.12: the lowest opset that still gives a graph without hand-made norms. Some graphs
# cannot be written in it; ONNX Runtime reads opset 18 since 1.14.
OPSETS = (17, 18)
IR_VERSION = 8

# A protobuf message holds 2 GiB; larger models keep their weights in a file beside.
LARGEST_FILE = 1_900_000_000
EXTERNAL_NAME = "model.onnx_data"

# Bytes of the smallest tensor that is kept once if there are several equal ones.
SMALLEST_SHARED = 1024

# The families in whose graphs ONNX Runtime's optimiser finds something to fuse.
FUSED_FAMILIES = {
    "albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "gemma", "gemma3_text", "modernbert", "mpnet",
    "nomic_bert", "qwen2", "qwen3", "roberta", "t5", "xlm-roberta",
}  # fmt: skip


def export_graph(model, inputs, output_name, path):
    """Run torch's exporter with both axes left open; returns the name of the one that could.

    The newer exporter gives cleaner graphs, the older one knows more models.
    """
    reason = None
    for opset in OPSETS:
        try:
            with quiet():
                export_dynamo(model, inputs, output_name, path, opset)
            return "dynamo"
        except Exception as error:  # whatever the exporter could not follow
            reason = type(error).__name__
    print(f"torch's exporter cannot follow this model ({reason}); it is traced instead")
    with quiet():
        export_traced(model, inputs, output_name, path)
    return "traced"


@contextmanager
def quiet():
    """Without the exporters' warnings: what they say of themselves is no matter of the model."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def export_dynamo(model, inputs, output_name, path, opset):
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    torch.onnx.export(
        model,
        tuple(inputs[name] for name in model.input_names),
        path,
        dynamo=True,
        opset_version=opset,
        input_names=model.input_names,
        output_names=[output_name],
        dynamic_shapes=(tuple(axes for _ in model.input_names),),
        external_data=is_large(model),
        verbose=False,
    )
    # Some graphs hold the example's sizes in spite of the open axes: they fail on others.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, length in ((1, 3), (3, 7)):
        ids = torch.ones(batch, length, dtype=torch.int64)
        session.run(None, {value.name: ids.numpy() for value in session.get_inputs()})


def export_traced(model, inputs, output_name, path):
    axes = {name: {0: "batch", 1: "sequence"} for name in model.input_names}
    per_token = output_name in ("last_hidden_state", "token_embeddings")
    axes[output_name] = {0: "batch", 1: "sequence"} if per_token else {0: "batch"}
    torch.onnx.export(
        model, tuple(inputs[name] for name in model.input_names), path, dynamo=False, opset_version=OPSETS[0],
        input_names=model.input_names, output_names=[output_name], dynamic_axes=axes,
    )  # fmt: skip


def is_large(model):
    return sum(weight.numel() for weight in model.parameters()) * 4 > LARGEST_FILE


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


def share_constants(model):
    """Keep equal tensors once: the exporter copies a weight that several layers share for each of them."""
    graph, kept, replaced = model.graph, {}, {}
    for tensor in graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), hashlib.sha256(tensor.raw_data).digest())
        # Small ones are not worth it, and their names may say something.
        if len(tensor.raw_data) >= SMALLEST_SHARED and kept.setdefault(key, tensor.name) != tensor.name:
            replaced[tensor.name] = kept[key]
    rename_inputs(graph, replaced)
    left = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    del graph.initializer[:]
    graph.initializer.extend(left)


def rename_inputs(graph, names):
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in names:
                node.input[position] = names[name]


def name_weights(model):
    """Call a linear layer's weight after its bias: the exporter loses its name."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    products = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    names = {}
    for node in graph.node:
        product = next((products[name] for name in node.input if name in products), None)
        bias = next((name for name in node.input if name in constants and name.endswith(".bias")), None)
        if node.op_type == "Add" and product is not None and bias and product.input[1] in constants:
            name = bias.removesuffix("bias") + "weight"
            if name not in constants and name not in names.values():
                names.setdefault(product.input[1], name)
    for old, new in names.items():
        constants[old].name = new
    rename_inputs(graph, names)


def drop_unused_inputs(model):
    """Leave out what the model takes and does not look at, as DeBERTa v3 does with token types."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [value for value in model.graph.input if value.name in used]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def name_axes(model, output_name):
    """Give the open axes the names people look for in a model viewer."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param, dims[1].dim_param = "batch", "sequence"
    dims = model.graph.output[0].type.tensor_type.shape.dim
    dims[0].dim_param = "batch"
    if output_name in ("last_hidden_state", "token_embeddings"):
        dims[1].dim_param = "sequence"


def set_metadata(model, **values):
    """Write `crossrank.*` keys, replacing those that are there."""
    known = {entry.key: entry.value for entry in model.metadata_props}
    known.update({f"crossrank.{key}": value for key, value in values.items()})
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(known.items())))


def size_of(model):
    """The bytes of the weights; the rest of a graph is small."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def save(model, path):
    """Write the file, with the weights of a large model beside it; the model keeps its weights."""
    (path.parent / EXTERNAL_NAME).unlink(missing_ok=True)
    if size_of(model) <= LARGEST_FILE:
        onnx.save(model, path)
        return
    onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=EXTERNAL_NAME)
    # Writing took them out of the model.
    onnx.load_external_data_for_model(model, str(path.parent))


def add_opset(model, domain):
    """Say that operators of `domain` (version 1) are used."""
    if all(opset.domain != domain for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


def refuse_unfused(config):
    if config.model_type not in FUSED_FAMILIES:
        raise SystemExit(
            f"--optimize: ONNX Runtime's optimiser has no fused form of {config.model_type} models; leave it out "
            f"(it has one of {', '.join(sorted(FUSED_FAMILIES))})"
        )


def give_norms_biases(model):
    """A bias of zeros where a norm has none (ModernBERT): the optimiser stumbles over norms without."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "LayerNormalization" and len(node.input) == 2:
            name = f"{node.input[1]}.zeros"
            if name not in tensors:
                zeros = np.zeros_like(onnx.numpy_helper.to_array(tensors[node.input[1]]))
                tensors[name] = onnx.numpy_helper.from_array(zeros, name)
                model.graph.initializer.append(tensors[name])
            node.input.append(name)


def fuse(model, path, config):
    """ONNX Runtime's own fused operators: norms with the addition before them, GELU with its bias, and attention where it is known.

    It knows attention in the older exporter's graphs, hardly ever in the newer one's. It reads the file, which is written again.
    """
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    # Its passes for BERT find what other families have of the same kind.
    options = FusionOptions("bert")
    # It would take the word embeddings into an operator that reads them in fp32 only.
    options.enable_embed_layer_norm = False
    give_norms_biases(model)
    save(model, path)
    heads, width = config.num_attention_heads, config.hidden_size
    with quiet():
        optimized = optimize_model(
            str(path), "bert", num_heads=heads, hidden_size=width, opt_level=0, optimization_options=options, use_gpu=False
        )
    add_opset(optimized.model, "com.microsoft")
    return optimized.model
