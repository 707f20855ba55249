"""A small student with one layer more, which at first changes next to nothing.

    python onnx/train/grow.py --work WORK --model SMALL --from LARGE --layer 4 --at 2 --out FOLDER
        [--intermediate 1024 --vocabulary 21900]

The new layer has the weights of layer `--layer` of the model that the student learns from, but what attention and feed-forward
part add to their input begins at 0, and the two norms at the mean and the deviation of what comes in, so that they pass it on
nearly as it is. To pay for its bytes, every layer may keep fewer neurons and the model fewer tokens.
"""

import argparse
import copy
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from pairs_model import PairModel
from small import kept_tokens, prune, write_tokenizer
from sources import read_jsonl

TEXTS = 256  # from which the norms are set


def incoming(folder, layer, texts):
    """Mean and standard deviation, within a token, of what a layer is given; both are means over tokens."""
    student = PairModel(folder)
    seen = []
    hook = student.model.bert.encoder.layer[layer].register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    ids = student.token_ids(texts)
    student.scores(list(zip(ids[::2], ids[1::2])))
    hook.remove()
    tokens = torch.cat([hidden.flatten(0, 1) for hidden in seen])
    return float(tokens.mean(1).mean()), float(tokens.std(1, correction=0).mean())


def pass_on(layer, mean, deviation):
    """The layer adds nothing to its input."""
    for part in (layer.attention.output, layer.output):
        part.dense.weight.zero_()
        part.dense.bias.zero_()
        part.LayerNorm.weight.fill_(deviation)
        part.LayerNorm.bias.fill_(mean)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of the student's checkpoint")
    parser.add_argument("--from", dest="large", type=Path, required=True, help="folder of the larger model's checkpoint")
    parser.add_argument("--layer", type=int, required=True, help="of the larger model")
    parser.add_argument("--at", type=int, required=True, help="the new layer's place in the student")
    parser.add_argument("--intermediate", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=21900)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    texts = [row["text"] for row in read_jsonl(args.work / "pool.jsonl")]
    mean, deviation = incoming(args.model, args.at, texts[:: len(texts) // TEXTS])
    kept = kept_tokens(args.model, args.work, args.vocabulary)
    number = write_tokenizer(args.model, args.out, kept)
    model = AutoModelForSequenceClassification.from_pretrained(args.model)
    large = AutoModelForSequenceClassification.from_pretrained(args.large)
    with torch.no_grad():
        embeddings = model.bert.embeddings.word_embeddings
        embeddings.weight = torch.nn.Parameter(embeddings.weight[kept].clone())
        new = copy.deepcopy(large.bert.encoder.layer[args.layer])
        layers = list(model.bert.encoder.layer)
        for layer in (*layers, new):
            prune(layer, args.intermediate)
        pass_on(new, mean, deviation)
    layers.insert(args.at, new)
    model.bert.encoder.layer = torch.nn.ModuleList(layers)
    model.config.num_hidden_layers, model.config.intermediate_size = len(layers), args.intermediate
    model.config.vocab_size, model.config.pad_token_id = len(kept), number[model.config.pad_token_id]
    model.save_pretrained(args.out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; norms of the new layer: {mean:.3f}, {deviation:.3f}")


if __name__ == "__main__":
    main()
