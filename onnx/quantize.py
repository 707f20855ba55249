"""Make a smaller model.onnx from an fp32 export.

Every precision keeps the inputs and outputs of the export. Weights are rounded
symmetrically. A linear layer has a scale for each output channel (int8-weights and
int8-blocks: for each block of inputs of each output channel). An embedding table has
one for each row and stays small in memory: only the rows that a text needs are
brought back to fp32.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibrated import METHODS, quantize_static, read_feeds, smooth
from graph import add_opset, save, set_metadata

PRECISIONS = {
    "fp32": "the export as it is",
    "fp16-weights": "weights stored in 16 bits, arithmetic in fp32",
    "int8-weights": "weights stored in 8 bits, arithmetic in fp32",
    "int8-blocks": "MatMulNBits of ONNX Runtime: 8 bits in blocks, activations rounded block by block",
    "q4-blocks": "MatMulNBits of ONNX Runtime: 4 bits in blocks, arithmetic in fp32",
    "int8-dynamic": "onnxruntime.quantization.quantize_dynamic, one activation scale for a whole batch",
    "int8-static": "onnxruntime.quantization.quantize_static, activation scales from calibration texts",
    "int8-rows": "8-bit arithmetic, one activation scale for each token",
}

# Smaller tensors (norms, biases, the classifier) are not worth an error.
SMALLEST_WEIGHT = 10_000

# int8-weights: inputs that share a scale. Smaller blocks were hardly more accurate.
WEIGHT_BLOCK = 128

# int8-rows multiplies unsigned activations with signed weights. CPUs with AVX2 but
# without VNNI add two such products in 16 bits and saturate: 2 * 255 * 127 is too
# much, 2 * 255 * 64 is not. Seven bits give every machine the same integers.
EVERY_MACHINE_RANGE = 64

# The zero points of int8-rows. After GELU nothing is below -0.17, so most of the
# eight bits can go to the positive side.
CENTRE = 128
GELU_CENTRE, GELU_MINIMUM = 32, -0.17


class Graph:
    """A graph under rewriting: looks up constants, collects the nodes to keep."""

    def __init__(self, model, smallest=SMALLEST_WEIGHT):
        self.model, self.graph, self.smallest = model, model.graph, smallest
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.nodes = []
        self.shared = {}

    def weight(self, name):
        """The values of a constant large enough to be worth shrinking, or None."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
            return None
        values = numpy_helper.to_array(tensor)
        return values if values.size >= self.smallest else None

    def constant(self, name, values):
        """Add a constant once; asking again for the same name is free."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def add(self, operator, inputs, output, **attributes):
        node = helper.make_node(operator, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def once(self, operator, inputs, output, **attributes):
        """Like add, for values that several places share."""
        if output not in self.shared:
            self.shared[output] = self.add(operator, inputs, output, **attributes)
        return output

    def finish(self):
        """Put the nodes back and leave out the constants nobody reads any more."""
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for name, tensor in self.constants.items() if name in used]
        del self.graph.node[:]
        del self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(kept)
        return self.model


def round_symmetric(values, axis, limit=127):
    """int8 values and the fp32 scales (kept as an axis) that bring them back."""
    scale = np.abs(values).max(axis=axis, keepdims=True).astype(np.float32) / np.float32(limit)
    scale[scale == 0] = 1
    return np.clip(np.rint(values / scale), -limit, limit).astype(np.int8), scale


def rewrite(model, gather, linear, head, smallest):
    """Rebuild the graph; the others replace lookups and weight products.

    `linear` is for the layers that every token passes, `head` for those that run
    once for a text (pooler, classifier), which are stored small but compute in
    fp32. Each gets the graph, the node and the fp32 weight, and adds the nodes that
    compute the node's output. `Attention` is ONNX Runtime's fused operator (export.py
    --optimize); it takes fp32 weights, as the heads do.
    """
    graph = Graph(model, smallest)
    for node in model.graph.node:
        position = 0 if node.op_type == "Gather" else 1
        handler = {"Gather": gather, "MatMul": linear, "Gemm": head, "Attention": head}.get(node.op_type)
        if node.op_type == "Gather" and any(item.name == "axis" and item.i for item in node.attribute):
            handler = None  # it picks columns
        values = graph.weight(node.input[position]) if handler else None
        if values is None:
            graph.nodes.append(node)
        else:
            handler(graph, node, values)
    return graph.finish()


def gather_fp16(graph, node, values):
    table = graph.constant(f"{node.input[0]}.fp16", values.astype(np.float16))
    rows = graph.add("Gather", [table, node.input[1]], f"{node.output[0]}.fp16", axis=0)
    graph.add("Cast", [rows], node.output[0], to=TensorProto.FLOAT)


def gather_int8(graph, node, values):
    """Look up the small rows and their scales first, widen only those."""
    small, scale = round_symmetric(values, axis=1)
    table, ids, output = node.input[0], node.input[1], node.output[0]
    rows = graph.add("Gather", [graph.constant(f"{table}.int8", small), ids], f"{output}.int8", axis=0)
    scales = graph.add("Gather", [graph.constant(f"{table}.scale", scale), ids], f"{output}.scale", axis=0)
    wide = graph.add("Cast", [rows], f"{output}.wide", to=TensorProto.FLOAT)
    graph.add("Mul", [wide, scales], output)


def linear_fp16(graph, node, values):
    name = node.input[1]
    small = graph.constant(f"{name}.fp16", values.astype(np.float16))
    node.input[1] = graph.once("Cast", [small], f"{name}.wide", to=TensorProto.FLOAT)
    graph.nodes.append(node)


def linear_int8(block):
    """8-bit weights that ONNX Runtime brings back to fp32 once, when it loads the model.

    `block` inputs share a scale. A weight whose inputs do not divide into blocks
    gets one scale for each output channel.
    """

    def linear(graph, node, values):
        name = node.input[1]
        if is_transposed(node):
            small, scale = round_symmetric(values, axis=1)
        elif block and values.shape[0] % block == 0:
            small, scale = round_symmetric(values.reshape(-1, block, values.shape[1]), axis=1)
        else:
            small, scale = round_symmetric(values, axis=0)
        wide = graph.once("Cast", [graph.constant(f"{name}.int8", small)], f"{name}.wide", to=TensorProto.FLOAT)
        scaled = graph.once("Mul", [wide, graph.constant(f"{name}.scale", scale)], f"{name}.fp32")
        if small.ndim == 3:
            shape = graph.constant("shape." + "x".join(map(str, values.shape)), np.array(values.shape))
            scaled = graph.once("Reshape", [scaled, shape], f"{name}.matrix")
        node.input[1] = scaled
        graph.nodes.append(node)

    return linear


def keeping(parts, linear):
    """`linear`, except that weights with one of `parts` in their name stay in 16 bits."""

    def choose(graph, node, values):
        kept = any(part in node.input[1] for part in parts)
        (linear_fp16 if kept else linear)(graph, node, values)

    return choose


def is_transposed(node):
    """Whether a Gemm carries its weight as [outputs, inputs]."""
    return any(item.name == "transB" and item.i for item in node.attribute)


def linear_blocks(block, bits=8):
    """MatMulNBits with 8 or 4 bits; a block of `block` inputs shares one scale.

    With 8 bits the activations are rounded to 8 bits as well, block by block; with 4 they stay in fp32.
    A weight whose inputs do not divide into blocks is stored in 8 bits with one scale for each output channel.
    """
    undivided = linear_int8(0)

    def linear(graph, node, values):
        name = node.input[1]
        inputs, outputs = values.shape
        if inputs % block:
            undivided(graph, node, values)
            return
        largest, zero = (127, 128) if bits == 8 else (7, 8)
        small, scale = round_symmetric(values.T.reshape(outputs, inputs // block, block), axis=2, limit=largest)
        small = (small.astype(np.int16) + zero).astype(np.uint8)
        if bits == 4:
            small = small[..., 0::2] | (small[..., 1::2] << 4)
        packed = graph.constant(f"{name}.blocks", small)
        scales = graph.constant(f"{name}.scales", scale.reshape(-1))
        graph.add(
            "MatMulNBits", [node.input[0], packed, scales], node.output[0], domain="com.microsoft",
            K=inputs, N=outputs, bits=bits, block_size=block, accuracy_level=4 if bits == 8 else 1,
        )  # fmt: skip

    return linear


def linear_rows(limit):
    """Integer products with one scale for each token, which batch-mates cannot change."""

    def linear(graph, node, values):
        name, output = node.input[1], node.output[0]
        small, scale = round_symmetric(values, axis=0, limit=limit)
        rows, row_scale, zero = quantized_rows(graph, node.input[0], values.shape[0])
        weight = graph.constant(f"{name}.int8", small)
        column_scale = graph.constant(f"{name}.scale", scale.reshape(-1))
        sums = graph.add("MatMulInteger", [rows, weight, zero], f"{output}.sums")
        wide = graph.add("Cast", [sums], f"{output}.wide", to=TensorProto.FLOAT)
        by_column = graph.add("Mul", [wide, column_scale], f"{output}.by_column")
        flat = graph.add("Mul", [by_column, row_scale], f"{output}.flat")
        graph.add("Reshape", [flat, full_shape(graph, values.shape[1])], output)

    return linear


def full_shape(graph, width):
    """[batch, sequence, width], once for each width."""
    leading = graph.once("Shape", [graph.graph.input[0].name], "leading_shape")
    last = graph.constant(f"width.{width}", np.array([width]))
    return graph.once("Concat", [leading, last], f"shape.{width}", axis=0)


def quantized_rows(graph, name, width):
    """uint8 rows of the tensor `name`, their scales, their zero point; made once."""
    after_gelu = comes_from_gelu(graph, name)
    centre = GELU_CENTRE if after_gelu else CENTRE
    zero = graph.constant(f"zero_point.{centre}", np.array(centre, np.uint8))
    quantized, column = f"{name}.rows", f"{name}.row_scale"
    if quantized in graph.shared:
        return quantized, column, zero

    shape = graph.constant(f"flat.{width}", np.array([-1, width]))
    flat = graph.add("Reshape", [name, shape], f"{name}.flat")
    scale = row_scales(graph, flat, after_gelu)
    graph.add("Unsqueeze", [scale, graph.constant("last_axis", np.array([-1]))], column)
    graph.once("QuantizeLinear", [flat, scale, zero_points(graph, centre)], quantized, axis=0)
    return quantized, column, zero


def row_scales(graph, flat, after_gelu):
    """The step of each row: its largest value divided by the integers on that side."""
    if after_gelu:
        largest = graph.add("ReduceMax", [flat], f"{flat}.largest", axes=[-1], keepdims=0)
        integers, floor = 255 - GELU_CENTRE, -GELU_MINIMUM / GELU_CENTRE
    else:
        size = graph.add("Abs", [flat], f"{flat}.size")
        largest = graph.add("ReduceMax", [size], f"{flat}.largest", axes=[-1], keepdims=0)
        integers, floor = 127, 1e-10
    step = graph.add("Div", [largest, graph.constant(f"integers.{integers}", np.array(integers, np.float32))], f"{flat}.step")
    return graph.add("Max", [step, graph.constant(f"floor.{integers}", np.array(floor, np.float32))], f"{flat}.scale")


def zero_points(graph, centre):
    """QuantizeLinear wants a zero point for each row: the same one, as often as needed."""
    count = graph.once("Size", [graph.graph.input[0].name], "rows.count")
    count = graph.once("Reshape", [count, graph.constant("one", np.array([1]))], "rows.shape")
    value = helper.make_tensor("value", TensorProto.UINT8, [1], [centre])
    return graph.once("ConstantOfShape", [count], f"zero_points.{centre}", value=value)


def comes_from_gelu(graph, name, depth=3):
    """Whether a value is x * 0.5 * (1 + erf(x / sqrt 2)), as the exporter writes it."""
    node = graph.producers.get(name)
    if node is None or depth < 0:
        return False
    if node.op_type == "Erf":
        return True
    return node.op_type in ("Mul", "Add") and any(comes_from_gelu(graph, item, depth - 1) for item in node.input)


def quantize_dynamic(model):
    """ONNX Runtime's own dynamic quantisation, for the comparison."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as run

    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        onnx.save(model, plain)
        run(plain, small, per_channel=True, weight_type=QuantType.QInt8)
        return onnx.load(small)


def quantize(model, precision, block=None, limit=EVERY_MACHINE_RANGE, keep=(), smallest=SMALLEST_WEIGHT):
    """The model in another precision; the model given is changed. Weights of fewer than `smallest` numbers stay in fp32."""
    if precision == "int8-dynamic":
        model = quantize_dynamic(model)
    elif precision == "fp16-weights":
        rewrite(model, gather_fp16, linear_fp16, linear_fp16, smallest)
    elif precision == "int8-weights":
        small = linear_int8(WEIGHT_BLOCK if block is None else block)
        rewrite(model, gather_int8, keeping(keep, small), linear_int8(0), smallest)
    elif precision == "int8-blocks":
        rewrite(model, gather_int8, linear_blocks(block or 32), linear_int8(0), smallest)
        add_opset(model, "com.microsoft")
    elif precision == "q4-blocks":
        rewrite(model, gather_int8, linear_blocks(block or 32, bits=4), linear_int8(0), smallest)
        add_opset(model, "com.microsoft")
    elif precision == "int8-rows":
        rewrite(model, gather_int8, keeping(keep, linear_rows(limit)), linear_int8(0), smallest)
    set_metadata(model, precision=precision)
    return model


def left(graph, node, values):
    """A weight that stays as it is."""
    graph.nodes.append(node)


def quantize_calibrated(model, precision, feeds, method, alpha, keep, limit):
    """Static int8, or any other precision whose activations are made easier to round first."""
    if alpha is not None:
        smooth(model, feeds, alpha)
    if precision != "int8-static":
        return quantize(model, precision, limit=limit, keep=keep)
    model = quantize_static(model, feeds, method, keep, reduce_range=limit <= EVERY_MACHINE_RANGE)
    rewrite(model, gather_int8, left, linear_int8(0), SMALLEST_WEIGHT)
    set_metadata(model, precision=precision)
    return model


def copy_files(source, out):
    """Everything that stands beside the model, unchanged."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.name not in ("model.onnx", "model.onnx_data"):
            target = out / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def main():
    choices = "\n".join(f"  {name:13} {text}" for name, text in PRECISIONS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__.splitlines()[0]}\n\nprecisions:\n{choices}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="a folder that export.py wrote")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--precision", choices=PRECISIONS, required=True)
    parser.add_argument(
        "--block", type=int,
        help="inputs that share a scale (default 128 for int8-weights, where 0 means all; 32 for int8-blocks)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, default=EVERY_MACHINE_RANGE,
        help="int8-rows, int8-static: largest weight integer (default 64; 127 is finer, but saturates on CPUs without VNNI)",
    )  # fmt: skip
    parser.add_argument(
        "--keep", action="append", default=[], metavar="PART",
        help="int8-weights, int8-rows, int8-static: weights with PART in their name stay in 16 bits (int8-static: in 32), arithmetic in fp32 (may be repeated)",
    )  # fmt: skip
    parser.add_argument("--calibrate", type=Path, metavar="PAIRS", help="int8-static, --smooth: texts as pairs.py writes them")
    parser.add_argument("--method", choices=METHODS, default="minmax", help="int8-static: what an activation's range is (default minmax)")
    parser.add_argument(
        "--smooth", type=float, metavar="ALPHA",
        help="int8-static, int8-dynamic, int8-rows: SmoothQuant's scaling before the rest; 0.5 is usual",
    )  # fmt: skip
    args = parser.parse_args()
    calibrated = args.precision == "int8-static" or args.smooth is not None
    if calibrated and args.calibrate is None:
        parser.error("--calibrate PAIRS is needed for int8-static and for --smooth")
    if args.smooth is not None and args.precision not in ("int8-static", "int8-dynamic", "int8-rows"):
        parser.error(f"--smooth: {args.precision} does not round activations by the tensor or the token")

    model = onnx.load(args.source / "model.onnx")
    args.out.mkdir(parents=True, exist_ok=True)
    copy_files(args.source, args.out)
    if calibrated:
        feeds = read_feeds(args.calibrate, args.source, model)
        model = quantize_calibrated(model, args.precision, feeds, args.method, args.smooth, args.keep, args.limit)
    else:
        model = quantize(model, args.precision, args.block, args.limit, args.keep)
    save(model, args.out / "model.onnx")
    print(f"{args.out / 'model.onnx'}: {(args.out / 'model.onnx').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
