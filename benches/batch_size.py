"""How much faster is a batch than its inputs one by one, on one CPU thread?

Runs a cross-encoder's ONNX file on random token ids of several lengths, as batches of
1, 2, 4, 8 and 32 equal lengths (no padding at all: the best case for a batch), rounds
interleaved, and prints the median tokens per second relative to batches of one.

    pip install -r onnx/requirements.txt
    python benches/batch_size.py onnx/cross-encoder/model.onnx
"""

import argparse
import statistics
import time

import numpy as np
import onnxruntime

LENGTHS = [16, 32, 64, 128, 256, 512]
BATCHES = [1, 2, 4, 8, 32]
INPUTS = 32
ROUNDS = 7


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feeds(names, length, batch, rng):
    """Token ids of ordinary words; everything else as for texts without padding."""
    shape = (batch, length)
    values = {
        "input_ids": rng.integers(2000, 20000, shape),
        "attention_mask": np.ones(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    return {name: values[name] for name in names}


def seconds(model, names, length, batch, rng):
    """The time for INPUTS inputs of this length in batches of this size."""
    one = feeds(names, length, batch, rng)
    start = time.perf_counter()
    for _ in range(INPUTS // batch):
        model.run(None, one)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an ONNX file of a cross-encoder")
    model = session(parser.parse_args().model)
    names = [value.name for value in model.get_inputs()]
    rng = np.random.default_rng(0)
    print("| tokens | tokens/s one by one |" + "".join(f" batch of {batch} |" for batch in BATCHES[1:]))
    print("| ---: |" + " ---: |" * len(BATCHES))
    for length in LENGTHS:
        times = {batch: [] for batch in BATCHES}
        for _ in range(ROUNDS):
            for batch in BATCHES:
                times[batch].append(seconds(model, names, length, batch, rng))
        medians = {batch: statistics.median(times[batch]) for batch in BATCHES}
        ratios = "".join(f" {medians[1] / medians[batch]:.2f} × |" for batch in BATCHES[1:])
        print(f"| {length} | {INPUTS * length / medians[1]:.0f} |{ratios}")


if __name__ == "__main__":
    main()
