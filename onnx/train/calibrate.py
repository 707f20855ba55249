"""Puts a temperature and a bias into a cross-encoder, so that sigmoid(logit) is the chance of a document to be relevant.

    python onnx/train/calibrate.py --work WORK --model FOLDER --out FOLDER [--lists 16 --depth 30]

Both numbers are fitted on every second labelled dev list of each source, by maximum likelihood (Platt scaling; every source
weighs the same), and become part of the classifier's weights: the order of the documents stays as it is. On the other lists,
the expected calibration error and the reliability table are printed. What is not labelled counts as not relevant, so the
chances are on the low side where passages beside the labelled ones answer a question.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from evaluate import DevLists
from pairs_model import PairModel

BINS = 10


def scored(dev, model, wanted):
    """Logits, labels and weights of the documents of every dev list whose number in its source has this parity."""
    logits, labels, weights = [], [], []
    for some in dev.taken.values():
        used = [i for number, i in enumerate(some) if number % 2 == wanted]
        for i in used:
            candidates, _, of_list = (part[: dev.depth] for part in dev.lists[i])
            logits.append(model.scores([(dev.queries[i], dev.passages[c]) for c in candidates.tolist()]))
            labels.append(of_list.astype(bool))
            weights.append(np.full(len(candidates), 1 / len(used) / len(candidates)))
    weights = np.concatenate(weights)
    return np.concatenate(logits).astype(np.float64), np.concatenate(labels), weights / weights.sum()


def fit(logits, labels, weights):
    """(temperature's inverse, bias) of least cross-entropy."""

    def loss(parameters):
        scaled = parameters[0] * logits + parameters[1]
        return weights @ (np.logaddexp(0, scaled) - labels * scaled)

    scale, bias = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9}).x
    if scale <= 0:
        raise SystemExit(f"the logits do not rise with relevance (scale {scale:.3f}); is this the right model?")
    return float(scale), float(bias)


def reliability(logits, labels, weights):
    """Expected calibration error and, for each bin of the score, its share, mean score and share of relevant documents."""
    scores = 1 / (1 + np.exp(-logits))
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    rows, error = [], 0.0
    for number in range(BINS):
        mine = bins == number
        share = weights[mine].sum()
        if share > 0:
            score, relevant = (float(weights[mine] @ values[mine] / share) for values in (scores, labels))
            error += share * abs(score - relevant)
            rows.append((f"{number / BINS:.1f} to {(number + 1) / BINS:.1f}", int(mine.sum()), score, relevant))
    return float(error), rows


def show(name, logits, labels, weights):
    error, rows = reliability(logits, labels, weights)
    print(f"\n{name}: expected calibration error {error:.4f}, {len(logits)} pairs\n")
    print("| score | pairs | mean score | relevant |\n| --- | ---: | ---: | ---: |")
    for label, count, score, relevant in rows:
        print(f"| {label} | {count} | {score:.3f} | {relevant:.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lists", type=int, default=16, help="dev lists of each source, half of them to fit")
    parser.add_argument("--depth", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = PairModel(args.model, device=args.device)
    dev = DevLists(args.work, model, args.lists, args.depth)
    scale, bias = fit(*scored(dev, model, 0))
    logits, labels, weights = scored(dev, model, 1)
    print(json.dumps({"scale": round(scale, 4), "bias": round(bias, 4), "lists": {k: len(v) for k, v in dev.taken.items()}}))
    show("as it was, held-out lists", logits, labels, weights)
    show("calibrated, held-out lists", scale * logits + bias, labels, weights)
    with torch.no_grad():
        classifier = model.model.classifier
        classifier.weight.mul_(scale)
        classifier.bias.mul_(scale).add_(bias)
    model.save(args.out)


if __name__ == "__main__":
    main()
