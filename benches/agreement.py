"""How far are the scores of each compute type from those of fp32?

Runs `crossrank rerank` over pairs (onnx/pairs.py makes them) with an fp32 export on ONNX
Runtime as the reference, and with the given models in each compute type.

    python onnx/pairs.py --corpus corpus.jsonl.gz --queries queries.jsonl --run bm25.trec --out pairs.jsonl
    python benches/agreement.py target/release/crossrank pairs.jsonl FP32_FOLDER [FOLDER …]
"""

import argparse
import json
import math
import statistics
import subprocess

COMPUTES = ["onnxruntime", "float32", "int16", "int8", "w8a8"]


def logits(program, model, compute, groups):
    """For each query the logits of its documents, in their order."""
    found = []
    for group in groups:
        command = [program, "rerank", "--reranker", model, "--compute", compute, "--query", group["query"]]
        lines = "\n".join(json.dumps({"text": text}) for text in group["documents"])
        done = subprocess.run(
            [*command, "--raw-scores", "--format", "json"], input=lines, capture_output=True, text=True, check=True
        )
        of = {result["index"]: result["relevance_score"] for result in json.loads(done.stdout)["results"]}
        found.append([of[index] for index in range(len(group["documents"]))])
    return found


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def tau(a, b):
    """Kendall's tau of two lists of scores without ties."""
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    return sum(1 if (a[i] - a[j]) * (b[i] - b[j]) > 0 else -1 for i, j in pairs) / len(pairs)


def row(reference, scores):
    pairs = [pair for a, b in zip(reference, scores) for pair in zip(a, b)]
    of_logits = [abs(a - b) for a, b in pairs]
    of_scores = sorted(abs(sigmoid(a) - sigmoid(b)) for a, b in pairs)
    p99 = of_scores[math.ceil(0.99 * len(of_scores)) - 1]
    taus = statistics.mean(tau(a, b) for a, b in zip(reference, scores) if len(a) > 1)
    return f"{statistics.mean(of_logits):.5f} | {statistics.mean(of_scores):.5f} | {p99:.5f} | {of_scores[-1]:.5f} | {taus:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built crossrank")
    parser.add_argument("pairs", help='lines of {"query": …, "documents": […]}')
    parser.add_argument("reference", help="the folder of an fp32 export")
    parser.add_argument("models", nargs="*", help="other models: folders, or `bundled`")
    parser.add_argument("--compute", action="append", choices=COMPUTES, help="only these compute types")
    args = parser.parse_args()
    with open(args.pairs, encoding="utf-8") as file:
        groups = [json.loads(line) for line in file]
    reference = logits(args.program, args.reference, "onnxruntime", groups)
    print(f"{sum(map(len, reference))} pairs, {len(groups)} queries\n")
    print("| model | compute type | mean Δ logit | mean Δ score | p99 Δ score | max Δ score | Kendall's tau |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for number, model in enumerate([args.reference, *args.models]):
        for compute in args.compute or COMPUTES:
            name = "fp32" if number == 0 else model
            print(f"| {name} | {compute} | {row(reference, logits(args.program, model, compute, groups))} |", flush=True)


if __name__ == "__main__":
    main()
