"""How near does crossrank come to what the machine's matrix product can do?

Measures, in turns and as medians, ONNX Runtime's product of two 1024 x 1024 matrices (fp32
MatMul and 8-bit MatMulInteger, one single-threaded session a core) and `crossrank rerank` on
documents of 9-350 words, and prints the operations a second of both. Operations are the
multiplications and additions of layers and attention that really run (in the last layer of a
rewritten cross-encoder, one query); the time is what a run of all documents takes more than
a run of one.

    pip install -r onnx/requirements.txt
    cargo build --release
    python benches/peak.py target/release/crossrank onnx/cross-encoder
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

SIZE, QUERY = 1024, "how does the old library keep its books dry?"


def session(integers):
    rng = np.random.default_rng(0)
    if integers:
        weights = numpy_helper.from_array(rng.integers(-127, 127, (SIZE, SIZE)).astype(np.int8), "b")
        zero = numpy_helper.from_array(np.array(128, np.uint8), "z")
        node, kinds, more = helper.make_node("MatMulInteger", ["a", "b", "z"], ["y"]), (TensorProto.UINT8, TensorProto.INT32), [zero]
    else:
        weights = numpy_helper.from_array(rng.random((SIZE, SIZE), np.float32), "b")
        node, kinds, more = helper.make_node("MatMul", ["a", "b"], ["y"]), (TensorProto.FLOAT,) * 2, []
    values = [helper.make_tensor_value_info(name, kind, [SIZE, SIZE]) for name, kind in zip("ay", kinds)]
    graph = helper.make_graph([node], "product", values[:1], values[1:], [weights, *more])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def peak(integers, threads, products=30):
    """Operations a second of all threads together."""
    a = np.random.default_rng(1).integers(0, 255, (SIZE, SIZE)).astype(np.uint8 if integers else np.float32)
    sessions = [session(integers) for _ in range(threads)]

    def work(one):
        for _ in range(products):
            one.run(None, {"a": a})

    workers = [threading.Thread(target=work, args=(one,)) for one in sessions]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return 2 * SIZE**3 * products * threads / (time.perf_counter() - start)


def documents(count):
    rng = random.Random(1)
    words = Path(__file__).resolve().parent.parent.joinpath("README.md").read_text(encoding="utf-8").split()
    length = lambda: int(min(350, max(9, rng.lognormvariate(4.2, 0.75))))  # noqa: E731
    return [" ".join(rng.choice(words) for _ in range(length())) for _ in range(count)]


def operations(folder, texts, compute):
    """Of layers and attention, for each text with the query."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    total = 0
    for text in texts:
        tokens = len(tokenizer.encode(QUERY, text).ids)
        whole = tokens * (4 * width * width + 2 * width * inner) + 2 * tokens * tokens * width
        last = 2 * tokens * width * width + 2 * width * width + 2 * width * inner + 2 * tokens * width
        total += 2 * (whole * layers if compute == "onnxruntime" else whole * (layers - 1) + last)
    return total


def seconds(program, folder, texts, compute, threads):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(texts))
        file.flush()
        command = [program, "rerank", "--reranker", folder, "--compute", compute, "--threads", str(threads)]
        start = time.perf_counter()
        subprocess.run([*command, "--query", QUERY, file.name], check=True, capture_output=True)
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built crossrank")
    parser.add_argument("folder", type=Path, help="a BERT-like cross-encoder")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    threads, texts = len(os.sched_getaffinity(0)), documents(args.documents)
    computes = ["onnxruntime", "float32", "int16", "int8", "w8a8"]
    peaks, times = {False: [], True: []}, {compute: [] for compute in computes}
    for _ in range(args.rounds):
        for integers, found in peaks.items():
            found.append(peak(integers, threads))
        for compute, found in times.items():
            run = lambda texts: seconds(args.program, args.folder, texts, compute, threads)  # noqa: E731, B023
            found.append(run(texts) - run(texts[:1]))
    fp32, int8 = (statistics.median(peaks[integers]) / 1e9 for integers in (False, True))
    print(f"{threads} threads. Peak: fp32 {fp32:.0f} GFLOP/s, int8 {int8:.0f} GOP/s\n")
    print("| compute type | pairs/s | GOP/s | of the fp32 peak | of the int8 peak |\n| --- | ---: | ---: | ---: | ---: |")
    for compute, found in times.items():
        median = statistics.median(found)
        rate = operations(args.folder, texts, compute) / median / 1e9
        print(f"| {compute} | {len(texts) / median:.0f} | {rate:.0f} | {rate / fp32:.0%} | {rate / int8:.0%} |")


if __name__ == "__main__":
    main()
