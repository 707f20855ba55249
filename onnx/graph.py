"""From a torch module to a tidy ONNX graph: the exporter, the cleaning, the metadata, the file."""

import warnings

import onnx
import onnxruntime
import torch

# LayerNormalization entered ONNX with opset 17, and ONNX Runtime reads it since
# 1.12: the lowest opset that still gives a graph without hand-made norms.
OPSET = 17
IR_VERSION = 8

# A protobuf message holds 2 GiB; larger models keep their weights in a file beside.
LARGEST_FILE = 1_900_000_000
EXTERNAL_NAME = "model.onnx_data"


def export_graph(model, inputs, input_names, output_name, path):
    """Run torch's exporter with both axes left open; returns the name of the one that could.

    The newer exporter gives cleaner graphs, the older one knows more models.
    """
    try:
        export_dynamo(model, inputs, input_names, output_name, path)
        return "dynamo"
    except Exception as error:  # whatever the exporter could not follow
        print(f"torch's exporter cannot follow this model ({type(error).__name__}); it is traced instead")
    export_traced(model, inputs, input_names, output_name, path)
    return "traced"


def export_dynamo(model, inputs, input_names, output_name, path):
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
            external_data=is_large(model),
            verbose=False,
        )
    # Some graphs hold the example's sizes in spite of the open axes: they fail on others.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, length in ((1, 3), (3, 7)):
        ids = torch.ones(batch, length, dtype=torch.int64)
        session.run(None, {value.name: ids.numpy() for value in session.get_inputs()})


def export_traced(model, inputs, input_names, output_name, path):
    axes = {name: {0: "batch", 1: "sequence"} for name in input_names}
    per_token = output_name in ("last_hidden_state", "token_embeddings")
    axes[output_name] = {0: "batch", 1: "sequence"} if per_token else {0: "batch"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, tuple(inputs[name] for name in input_names), path, dynamo=False, opset_version=OPSET,
            input_names=input_names, output_names=[output_name], dynamic_axes=axes,
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
    if output_name in ("last_hidden_state", "token_embeddings"):
        dims[1].dim_param = "sequence"


def set_metadata(model, **values):
    """Write `crossrank.*` keys, replacing those that are there."""
    known = {entry.key: entry.value for entry in model.metadata_props}
    known.update({f"crossrank.{key}": value for key, value in values.items()})
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(known.items())))


def save(model, path):
    """Write the file, with the weights of a large model beside it."""
    if model.ByteSize() <= LARGEST_FILE:
        onnx.save(model, path)
        return
    (path.parent / EXTERNAL_NAME).unlink(missing_ok=True)
    onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=EXTERNAL_NAME)


def fuse(path, config):
    """ONNX Runtime's own fused operators (attention, skip-layer-norm, bias-GELU), for its kernels."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    kind = {"distilbert": "bert", "roberta": "bert", "xlm-roberta": "bert", "camembert": "bert", "electra": "bert"}
    kind = kind.get(config.model_type, config.model_type)
    if kind not in ("bert", "t5", "gpt2"):
        raise SystemExit(f"--optimize: ONNX Runtime's optimiser has no fused form of {config.model_type} models; leave it out")
    options = FusionOptions(kind)
    heads, width = config.num_attention_heads, config.hidden_size
    optimized = optimize_model(
        str(path), kind, num_heads=heads, hidden_size=width, opt_level=0, optimization_options=options, use_gpu=False
    )
    return optimized.model
