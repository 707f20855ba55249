"""What is learnt from calibration texts: the scales of SmoothQuant, and ONNX Runtime's static int8."""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from tokenizers import Tokenizer

METHODS = ("minmax", "percentile", "entropy")


# Tokens of a pair, as measure.py cuts them.
MAX_LENGTH = 256


def read_feeds(pairs, folder, model):
    """The graph's inputs for each pair of a file as pairs.py writes it, one pair at a time."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH, strategy="longest_first")
    names = [value.name for value in model.graph.input]
    feeds = []
    for line in pairs.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        for document in case["documents"]:
            item = tokenizer.encode(case["query"], document)
            arrays = {"input_ids": item.ids, "token_type_ids": item.type_ids, "attention_mask": item.attention_mask}
            feeds.append({name: np.array([arrays[name]], np.int64) for name in names})
    return feeds


def weight_products(model):
    """The MatMul nodes whose second factor is a constant, with its values."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return [
        (node, numpy_helper.to_array(constants[node.input[1]]))
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in constants
    ]


def largest_of_channels(model, names, feeds):
    """The largest magnitude of each channel (last axis) of some tensors, over all texts."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    largest = {}
    for feed in feeds:
        for name, value in zip(names, session.run(names, feed)):
            channels = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, 0), channels)
    return largest


def smooth(model, feeds, alpha):
    """SmoothQuant (Xiao et al. 2022, arXiv:2211.10438, equation 4), in place.

    Channel j of a product's input is divided by s_j = max|X_j|^alpha / max|W_j|^(1 - alpha), row j of its weight is
    multiplied by it: the same product, with activations that are easier to round and weights that are harder to.
    Products with the same input share the scales. The division stays a node of its own: behind a post-layer-norm
    the residual needs the values as they were, so it cannot go into the norm's weights.
    """
    readers = {}
    for node, values in weight_products(model):
        readers.setdefault(node.input[0], []).append((node, values))
    largest = largest_of_channels(model, list(readers), feeds)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    divisions = {}
    for name, products in readers.items():
        weights = np.max([np.abs(values).max(axis=1) for _, values in products], axis=0)
        scale = np.maximum(largest[name], 1e-5) ** alpha / np.maximum(weights, 1e-5) ** (1 - alpha)
        scale = scale.astype(np.float32)
        factor = numpy_helper.from_array(1 / scale, f"{name}.smoothing")
        model.graph.initializer.append(factor)
        divisions[name] = onnx.helper.make_node("Mul", [name, factor.name], [f"{name}.smooth"], name=f"{name}.smooth")
        for node, values in products:
            tensor = constants[node.input[1]]
            tensor.CopyFrom(numpy_helper.from_array(values * scale[:, None], tensor.name))
            node.input[0] = f"{name}.smooth"
    insert_after(model.graph, divisions)


def insert_after(graph, nodes):
    """Puts each node behind the one that makes the tensor that it is listed under."""
    ordered = []
    for node in graph.node:
        ordered.append(node)
        ordered += [nodes[name] for name in node.output if name in nodes]
    del graph.node[:]
    graph.node.extend(ordered)


def of_equal_length(feeds):
    """Those of at least the median length, cut to it: ONNX Runtime's histograms take tensors of one shape only."""
    width = sorted(feed["input_ids"].shape[1] for feed in feeds)[len(feeds) // 2]
    return [{name: ids[:, :width] for name, ids in feed.items()} for feed in feeds if feed["input_ids"].shape[1] >= width]


def quantize_static(model, feeds, method, keep, reduce_range):
    """ONNX Runtime's own static quantisation of the weight products: a scale for each output channel of a weight and
    one, measured beforehand, for each activation. Products leave as fp32. Weights with one of `keep` in their name
    stay in fp32."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as run

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(feeds)

        def get_next(self):
            return next(self.rest, None)

    methods = dict(zip(METHODS, (CalibrationMethod.MinMax, CalibrationMethod.Percentile, CalibrationMethod.Entropy)))
    if method != "minmax":
        feeds = of_equal_length(feeds)
    chosen = [node.name for node, _ in weight_products(model) if not any(part in node.input[1] for part in keep)]
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        onnx.save(model, plain)
        run(
            plain, small, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["MatMul"], nodes_to_quantize=chosen,
            per_channel=True, reduce_range=reduce_range, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=methods[method], extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )  # fmt: skip
        return onnx.load(small)
