"""Compare models of different precision: size, speed, and what happened to the scores.

The first folder is the reference. Prints one markdown table: scores are compared
on every pair of the input; speed is measured on one thread, sorted by length,
one pair (or text) at a time, in rounds that alternate between the models, so that
a busy minute of the machine hits all of them.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

BATCH = 8


class Model:
    """One model.onnx on one thread."""

    def __init__(self, path):
        self.file = path / "model.onnx" if path.is_dir() else path
        self.name = path.name if path.is_dir() else path.stem
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.embeds = self.session.get_outputs()[0].name == "last_hidden_state"

    def run(self, encodings):
        """Logits of the pairs, or unit vectors of the texts, of one batch."""
        width = max(len(ids) for ids, _ in encodings)
        arrays = {name: np.zeros((len(encodings), width), np.int64) for name in ("input_ids", "token_type_ids", "attention_mask")}
        for row, (ids, types) in enumerate(encodings):
            arrays["input_ids"][row, : len(ids)] = ids
            arrays["token_type_ids"][row, : len(ids)] = types
            arrays["attention_mask"][row, : len(ids)] = 1
        output = self.session.run(None, {name: arrays[name] for name in self.inputs})[0]
        return mean_pool(output, arrays["attention_mask"]) if self.embeds else output[:, 0]

    def alone(self, encodings):
        return np.concatenate([self.run([encoding]) for encoding in encodings])


def mean_pool(hidden, mask):
    """The unit vector of each row's mean over its own tokens."""
    rows = [states[: count].mean(axis=0) for states, count in zip(hidden, mask.sum(axis=1))]
    return np.stack([row / np.linalg.norm(row) for row in rows])


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def load_tokenizer(folder, max_length):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    return tokenizer


def encode(tokenizer, texts):
    return [(item.ids, item.type_ids) for item in tokenizer.encode_batch(texts)]


def read_cases(path):
    with open(path, encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def cross_encoder_scores(model, tokenizer, cases):
    """Logits, one array for each query."""
    result = []
    for case in cases:
        pairs = [(case["query"], document) for document in case["documents"]]
        result.append(model.alone(encode(tokenizer, pairs)))
    return result


def embedding_scores(model, tokenizer, cases):
    """Cosines, one array for each query."""
    result = []
    for case in cases:
        vectors = model.alone(encode(tokenizer, [case["query"], *case["documents"]]))
        result.append(vectors[1:] @ vectors[0])
    return result


def kendall(first, second):
    """Kendall's tau-b between two lists of scores."""
    above = np.triu_indices(len(first), 1)
    left = np.sign(np.subtract.outer(first, first))[above]
    right = np.sign(np.subtract.outer(second, second))[above]
    return (left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum())


def same_bits(model, encodings):
    """Largest change of a result by its batch-mates: equal lengths, then padded."""
    worst = []
    for equal in (True, False):
        changes = [0.0]
        for start in range(0, len(encodings) - BATCH + 1, BATCH):
            batch = encodings[start : start + BATCH] if equal else encodings[start // BATCH :: len(encodings) // BATCH][:BATCH]
            if equal:
                width = min(len(ids) for ids, _ in batch)
                batch = [(ids[:width], types[:width]) for ids, types in batch]
            changes.append(np.abs(model.alone(batch) - model.run(batch)).max())
        worst.append(float(max(changes)))
    return worst


def time_rounds(models, encodings, rounds):
    """Median of the items a second for each model."""
    rates = {model.name: [] for model in models}
    for _ in range(rounds):
        for model in models:
            start = time.perf_counter()
            for encoding in encodings:
                model.run([encoding])
            rates[model.name].append(len(encodings) / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def spread(encodings, count):
    """`count` items of every length, shortest first."""
    ordered = sorted(encodings, key=lambda item: len(item[0]))
    return ordered[:: max(1, len(ordered) // count)]


def change(worst):
    return "same bits" if worst == 0 else f"{worst:.0e}"


def row(model, scores, reference, rate, bits):
    """One line of the table."""
    size = model.file.stat().st_size / 1e6
    flat, flat_reference = np.concatenate(scores), np.concatenate(reference)
    tau = np.mean([kendall(a, b) for a, b in zip(scores, reference) if len(a) > 1])
    cells = [model.name, f"{size:.1f}", f"{rate:.1f}"]
    if model.embeds:
        difference = np.abs(flat - flat_reference)
    else:
        difference = np.abs(sigmoid(flat) - sigmoid(flat_reference))
        cells.append(f"{np.abs(flat - flat_reference).mean():.4f}")
    cells += [f"{difference.mean():.5f}", f"{np.percentile(difference, 99):.5f}", f"{difference.max():.5f}"]
    return cells + [f"{tau:.4f}", change(bits[0]), change(bits[1])]


def header(embeds):
    name = "cosine" if embeds else "score"
    logit = [] if embeds else ["mean Δ logit"]
    return [
        "model", "MB", "texts/s" if embeds else "pairs/s", *logit,
        f"mean Δ {name}", f"p99 Δ {name}", f"max Δ {name}",
        "Kendall's tau", f"in a batch of {BATCH}, equal lengths", "padded",
    ]  # fmt: skip


def print_table(rows):
    for number, cells in enumerate(rows):
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + " --- |" * len(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help='JSONL, a line for each query: {"query": "...", "documents": ["...", ...]} (pairs.py makes one)')
    parser.add_argument("models", type=Path, nargs="+", help="model folders, the fp32 reference first")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a pair or text (default 256)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the speed measurement (default 5)")
    parser.add_argument("--timed", type=int, default=200, help="pairs or texts in a round (default 200)")
    args = parser.parse_args()

    cases = read_cases(args.pairs)
    tokenizer = load_tokenizer(args.models[0], args.max_length)
    models = [Model(path) for path in args.models]
    embeds = models[0].embeds
    score = embedding_scores if embeds else cross_encoder_scores
    texts = [document if embeds else (case["query"], document) for case in cases for document in case["documents"]]
    timed = spread(encode(tokenizer, texts), args.timed)

    rates = time_rounds(models, timed, args.rounds)
    reference = score(models[0], tokenizer, cases)
    rows = [header(embeds)]
    for model in models:
        scores = reference if model is models[0] else score(model, tokenizer, cases)
        rows.append(row(model, scores, reference, rates[model.name], same_bits(model, timed)))
    tokens = statistics.mean(len(ids) for ids, _ in timed)
    print(f"{sum(len(case['documents']) for case in cases)} pairs, {len(timed)} timed ({tokens:.0f} tokens on average), ONNX Runtime {onnxruntime.__version__}, one thread\n")
    print_table(rows)


if __name__ == "__main__":
    main()
