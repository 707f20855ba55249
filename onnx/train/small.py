"""A smaller student, cut out of a trained cross-encoder.

    python onnx/train/small.py --work WORK --model FOLDER --out FOLDER [--layers 1 3 5 --intermediate 1152 --vocabulary 23000]

Some of the layers, of each the neurons with the largest weights, and the tokens that the training texts use most. Single
characters stay, so that a word that is not kept is still spelt out of smaller pieces. What comes out is worth little before
train.py has trained it with `--teacher FOLDER`.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pairs_model import TOKENIZER_FILES
from sources import read_jsonl


def kept_tokens(folder, work, count):
    """Ids of special tokens, single characters and the most frequent others, in the order of the vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [row["text"] for row in read_jsonl(work / "pool.jsonl")] + [row["q"] for row in read_jsonl(work / "queries.jsonl")]
    frequency = Counter()
    for start in range(0, len(texts), 4096):
        for ids in tokenizer(texts[start : start + 4096], add_special_tokens=False)["input_ids"]:
            frequency.update(ids)
    kept = set(tokenizer.all_special_ids)
    kept |= {i for token, i in tokenizer.get_vocab().items() if len(token.removeprefix("##")) == 1}
    for token, _ in frequency.most_common():
        if len(kept) >= count:
            break
        kept.add(token)
    covered = sum(frequency[i] for i in kept) / sum(frequency.values())
    print(f"{len(kept)} tokens, {covered:.2%} of the texts'")
    return sorted(kept)


def write_tokenizer(folder, out, kept):
    """tokenizer.json with the kept tokens only, numbered anew."""
    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    number = {old: new for new, old in enumerate(kept)}
    stored["model"]["vocab"] = {
        token: number[old] for token, old in sorted(stored["model"]["vocab"].items(), key=lambda item: item[1]) if old in number
    }
    for token in stored["added_tokens"]:
        token["id"] = number[token["id"]]
    for special in stored["post_processor"]["special_tokens"].values():
        special["ids"] = [number[old] for old in special["ids"]]
    if stored.get("padding"):
        stored["padding"]["pad_id"] = number[stored["padding"]["pad_id"]]
    (out / "tokenizer.json").write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
    for name in TOKENIZER_FILES:
        if name not in ("tokenizer.json", "vocab.txt") and (folder / name).exists():
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            if "added_tokens_decoder" in settings:
                old = settings["added_tokens_decoder"]
                settings["added_tokens_decoder"] = {str(number[int(i)]): token for i, token in old.items()}
            (out / name).write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return number


def prune(layer, count):
    """Keeps the neurons of the feed-forward part whose weights, in and out, are the largest."""
    first, second = layer.intermediate.dense, layer.output.dense
    neurons = (first.weight.norm(dim=1) * second.weight.norm(dim=0)).topk(count).indices.sort().values
    first.weight, first.bias = (torch.nn.Parameter(p[neurons].clone()) for p in (first.weight, first.bias))
    second.weight = torch.nn.Parameter(second.weight[:, neurons].clone())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--intermediate", type=int, default=1152)
    parser.add_argument("--vocabulary", type=int, default=23000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model = AutoModelForSequenceClassification.from_pretrained(args.model)
    kept = kept_tokens(args.model, args.work, args.vocabulary)
    number = write_tokenizer(args.model, args.out, kept)
    with torch.no_grad():
        embeddings = model.bert.embeddings.word_embeddings
        embeddings.weight = torch.nn.Parameter(embeddings.weight[kept].clone())
        layers = [model.bert.encoder.layer[i] for i in args.layers]
        for layer in layers:
            prune(layer, args.intermediate)
    model.bert.encoder.layer = torch.nn.ModuleList(layers)
    model.config.num_hidden_layers, model.config.intermediate_size = len(layers), args.intermediate
    model.config.vocab_size, model.config.pad_token_id = len(kept), number[model.config.pad_token_id]
    model.save_pretrained(args.out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
