"""Scored candidate lists, as teachers.py wrote them, and their fusion."""

import json

import numpy as np

from sources import read_jsonl


def standardise(scores):
    """Each column with mean 0 and variance 1."""
    return (scores - scores.mean(0)) / np.maximum(scores.std(0), 1e-6)


def fuse(scores, teachers, weights):
    """The weighted sum of the teachers' z-scores over one list."""
    return standardise(scores) @ np.array([weights.get(t, 0.0) for t in teachers], np.float32)


def read_weights(work):
    """The teachers' weights that `evaluate.py weights` chose on the dev lists."""
    return json.loads((work / "weights.json").read_text(encoding="utf-8"))


class Lists:
    """The lists of one split, with their texts."""

    def __init__(self, work, split, pool=None):
        self.pool = pool if pool is not None else list(read_jsonl(work / "pool.jsonl"))
        every = list(read_jsonl(work / "queries.jsonl"))
        stored = np.load(work / f"lists-{split}.npz")
        self.queries = [every[i] for i in stored["queries"]]
        self.teachers = [str(t) for t in stored["teachers"]]
        self.offsets, self.candidates = stored["offsets"], stored["candidates"]
        self.scores, self.labels = stored["scores"], stored["labels"]

    def __len__(self):
        return len(self.queries)

    def __getitem__(self, i):
        """(candidates, scores [candidates, teachers], labels) of list i."""
        part = slice(self.offsets[i], self.offsets[i + 1])
        return self.candidates[part], self.scores[part], self.labels[part]

    def source(self, i):
        """Where query i comes from; of generated ones, how they were made."""
        return self.queries[i]["src"].split(":")[0]

    def some_of_each_source(self, count, seed=0, depth=None):
        """Up to `count` lists of each source; with `depth`, only those with a relevant passage among the first `depth`."""
        rng = np.random.default_rng(seed)
        taken = {}
        for i in rng.permutation(len(self)):
            if self[i][2][:depth].any():
                of_source = taken.setdefault(self.source(i), [])
                if len(of_source) < count:
                    of_source.append(int(i))
        return taken
