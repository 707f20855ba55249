"""A cross-encoder's logits of what train.py will draw, computed by crossrank: on a CPU several times as fast as in torch.

    python onnx/train/teach.py --work WORK --model onnx/cross-encoder --out FOLDER --steps N [--crossrank target/release/crossrank]

The options of the draw (--lists, --documents, --seed) must be train.py's, which then reads FOLDER with `--logits FOLDER` and
refuses others.
FOLDER gets a file [steps, lists, documents] for every 100 steps, and training can begin with the first; run again, it goes on.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np

from lists import Lists, read_weights
from train import STEPS_PER_FILE, Draws, draw_options, settings_of_draw


def requests(draws, steps):
    for step in steps:
        for i, candidates, *_ in draws[step]:
            documents = [draws.lists.pool[c]["text"] for c in candidates]
            yield json.dumps({"query": draws.lists.queries[i]["q"], "documents": documents})


def logits(args, draws, steps):
    command = [args.crossrank, "rerank", "--reranker", args.model, "--compute", args.compute, "--raw-scores", "-"]
    if args.threads:
        command += ["--threads", str(args.threads)]
    lines = "\n".join(requests(draws, steps))
    answers = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    out = np.full((len(answers), args.documents), np.nan, np.float32)
    for row, answer in zip(out, answers):
        for result in json.loads(answer)["results"]:
            row[result["index"]] = result["relevance_score"]
    return out.reshape(len(steps), args.lists, args.documents)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    draw_options(parser)
    parser.add_argument("--work", type=Path, required=True, help="folder of lists-train.npz")
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--crossrank", default="target/release/crossrank")
    parser.add_argument("--compute", default="w8a8", help="crossrank's compute type")
    parser.add_argument("--threads", type=int, help="crossrank's threads")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    settings_of_draw(args, args.out)
    draws = Draws(Lists(args.work, "train"), read_weights(args.work), args)
    for first in range(0, args.steps, STEPS_PER_FILE):
        path = args.out / f"{first}.npy"
        if path.exists():
            continue
        began, partial = time.time(), args.out / "partial.npy"
        found = logits(args, draws, range(first, first + STEPS_PER_FILE))
        np.save(partial, found)
        partial.replace(path)
        print(f"{path}: {found.size / (time.time() - began):.0f} pairs/s", flush=True)


if __name__ == "__main__":
    main()
