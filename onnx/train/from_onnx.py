"""A folder that ships, as a checkpoint that training can start from.

    python onnx/train/from_onnx.py --model onnx/cross-encoder --out FOLDER

Its weights are the 32-bit numbers that the 8 bits of `model.onnx` stand for; what rounding took away is not brought back.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import AutoConfig, AutoModelForSequenceClassification

from pairs_model import TOKENIZER_FILES


def weights(path):
    """Every constant whose name is that of a parameter, as fp32; matrices of MatMul as torch has them, [out, in]."""
    graph = onnx.load(path).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    out = {}
    for name, values in stored.items():
        if name.endswith(".int8"):
            name = name.removesuffix(".int8")
            values = values.astype(np.float32) * stored[name + ".scale"]
            if values.ndim == 3:  # blocks of inputs, each with its scales
                values = values.reshape(-1, values.shape[-1]).T
        out[name.removeprefix("model.")] = torch.from_numpy(np.array(values))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx of the precision int8-weights")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found = weights(args.model / "model.onnx")
    model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(args.model, num_labels=1))
    wanted = model.state_dict()
    if missing := wanted.keys() - found.keys():
        raise SystemExit(f"{args.model}: model.onnx lacks {', '.join(sorted(missing))}")
    model.load_state_dict({name: found[name].view_as(values) for name, values in wanted.items()})
    model.save_pretrained(args.out)
    for name in TOKENIZER_FILES:
        if (args.model / name).exists():
            shutil.copyfile(args.model / name, args.out / name)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
