"""Measures a model, its teachers and their fusions.

    python onnx/train/evaluate.py weights --work WORK
    python onnx/train/evaluate.py dev --work WORK --model FOLDER [--lists 8 --depth 30]
    python onnx/train/evaluate.py collection --collection FOLDER … --model FOLDER [--queries N] [--max-length 512]

`weights` and `dev` choose; `collection` (a BEIR folder with a TREC run) only reports: nothing may be chosen by it.
"""

import argparse
import functools
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import distributed

from lists import Lists, fuse, read_weights, standardise
from pairs_model import PairModel
from sources import read_jsonl


def ndcg(scores, labels, relevant, depth=10):
    """nDCG with binary gains; ties keep the order of the list."""
    gains = labels[np.argsort(-scores, kind="stable")][:depth]
    discounts = 1 / np.log2(np.arange(depth) + 2)
    return float(gains @ discounts[: len(gains)] / discounts[: min(relevant, depth)].sum())


class DevLists:
    """Dev lists of every source. Measured are the mean of the sources' nDCG@10, where no source weighs more for having more
    lists, and the agreement with the teachers: a model that was trained on labels of these sources finds their relevant
    passages and may still not know what relevance is elsewhere, but then it does not agree with the teachers either."""

    def __init__(self, work, model=None, per_source=8, depth=30, pool=None):
        self.lists = Lists(work, "dev", pool)
        self.work = work
        self.per_source, self.depth, self.reference = per_source, depth, None
        taken = self.lists.some_of_each_source(per_source, depth=depth)
        self.taken = {source: some for source, some in sorted(taken.items()) if len(some) >= 5}
        if model is not None:
            numbers = {c for some in self.taken.values() for i in some for c in self.lists[i][0][:depth].tolist()}
            numbers = sorted(numbers)
            encoded = model.token_ids([self.lists.pool[c]["text"] for c in numbers])
            self.passages = dict(zip(numbers, encoded))
            queries = [i for some in self.taken.values() for i in some]
            self.queries = dict(zip(queries, model.token_ids([self.lists.queries[i]["q"] for i in queries])))

    @functools.cached_property
    def weights(self):
        return read_weights(self.work)

    def figures(self, score):
        """`score` is a function of (list number, candidates, teachers' scores)."""
        means = {}
        for source, some in self.taken.items():
            values = []
            for i in some:
                candidates, scores, labels = (part[: self.depth] for part in self.lists[i])
                values.append(ndcg(score(i, candidates, scores), labels, len(self.lists.queries[i]["pos"])))
            means[source] = round(float(np.mean(values)), 4)
        return {"mean": round(float(np.mean(list(means.values()))), 4), **means}

    def scored(self, model, rank=0, processes=1):
        """Every list's scores. With several processes, each scores its part of the lists; all get all."""
        scores = {}
        for i in sorted(self.queries)[rank::processes]:
            candidates = self.lists[i][0][: self.depth].tolist()
            scores[i] = model.scores([(self.queries[i], self.passages[c]) for c in candidates])
        if processes > 1:
            parts = [None] * processes
            distributed.all_gather_object(parts, scores)
            scores = {i: of_list for part in parts for i, of_list in part.items()}
        return scores

    def agree_with(self, model, rank=0, processes=1):
        """From now on, agreement is with this model and not with the teachers' fusion."""
        own = DevLists(self.work, model, self.per_source, self.depth, self.lists.pool)
        self.reference = own.scored(model, rank, processes)

    def measure(self, model, rank=0, processes=1):
        scores = self.scored(model, rank, processes)
        agreement = np.mean([self.agreement(i, of_list) for i, of_list in scores.items()])
        figures = self.figures(lambda i, *_: scores[i])
        both = (figures["mean"] + agreement) / 2
        return {"both": round(float(both), 4), "agreement": round(float(agreement), 4), **figures}

    def agreement(self, i, scores):
        """Spearman's correlation with the teachers' fusion over list i, or with the model of `agree_with`."""
        if self.reference is not None:
            return spearmanr(scores, self.reference[i]).statistic
        fused = fuse(self.lists[i][1][: self.depth], self.lists.teachers, self.weights)
        return spearmanr(scores, fused).statistic

    def fused(self, weights):
        return self.figures(lambda i, candidates, scores: fuse(scores, self.lists.teachers, weights))

    def baselines(self):
        single = {t: self.fused({t: 1.0})["mean"] for t in self.lists.teachers}
        return {**single, "fused": self.fused(self.weights)}


def choose_weights(work):
    """Measures all weights in steps of a tenth on the dev lists, and writes the mean of the best dozen to weights.json: the
    best one of so many is the best by chance too."""
    dev = DevLists(work, per_source=60, depth=100)
    print(json.dumps({source: len(some) for source, some in dev.taken.items()}))
    teachers = dev.lists.teachers
    grid = [w for w in itertools.product(range(11), repeat=len(teachers)) if sum(w) == 10]
    rows = []
    for weights in grid:
        named = {t: w / 10 for t, w in zip(teachers, weights)}
        rows.append((dev.fused(named), named))
    rows.sort(key=lambda row: -row[0]["mean"])
    single = [row for row in rows if max(row[1].values()) == 1.0]
    chosen = {t: round(float(np.mean([named[t] for _, named in rows[:12]])), 3) for t in teachers}
    for figures, named in [*rows[:12], *single, (dev.fused(chosen), chosen)]:
        print(named, json.dumps(figures))
    (work / "weights.json").write_text(json.dumps(chosen) + "\n", encoding="utf-8")


class Collection:
    """A BEIR folder with `bm25.trec` and `qrels.trec`."""

    def __init__(self, folder, queries=None):
        documents = {d["_id"]: d for d in read_jsonl(folder / "corpus.jsonl.gz")}
        texts = {row["_id"]: row["text"] for row in read_jsonl(folder / "queries.jsonl")}
        import ir_measures  # the only part that needs it

        self.qrels = list(ir_measures.read_trec_qrels(str(folder / "qrels.trec")))
        self.run = {}
        for row in ir_measures.read_trec_run(str(folder / "bm25.trec")):
            self.run.setdefault(row.query_id, {})[row.doc_id] = row.score
        judged = sorted({q.query_id for q in self.qrels if q.relevance > 0} & texts.keys())
        self.used = judged[:: max(1, len(judged) // queries)][:queries] if queries else judged
        self.texts = {q: texts[q] for q in self.used}
        needed = sorted({d for q in self.used for d in self.run.get(q, {})})
        self.documents = {d: (documents[d].get("title", "") + " " + documents[d]["text"]).strip() for d in needed}

    def measure(self, run):
        import ir_measures
        from ir_measures import RR, nDCG

        used = set(self.used)
        qrels = [q for q in self.qrels if q.query_id in used]
        result = ir_measures.calc_aggregate([nDCG @ 10, RR @ 10], qrels, run)
        return {str(m): round(float(v), 4) for m, v in result.items()}

    def run_of(self, vectors):
        """{query: vector in the order of the first stage} → {query: {document: score}}."""
        return {q: dict(zip(self.run[q], map(float, vectors[q]))) for q in self.used if q in self.run}


def report_collection(folder, model, queries):
    from teachers import BiEncoder

    collection = Collection(folder, queries)
    runs = {"bm25": {q: np.array(list(collection.run[q].values())) for q in collection.used if q in collection.run}}
    ids, texts = list(collection.documents), list(collection.documents.values())
    asked = list(runs["bm25"])

    encoder = BiEncoder()
    vectors = {}
    for name, some in (("documents", texts), ("queries", [collection.texts[q] for q in asked])):
        vectors[name] = np.zeros((len(some), encoder.size), np.float32)
        for places, batch in encoder.batches(some):
            vectors[name][places] = batch.cpu().numpy()
    place = {d: i for i, d in enumerate(ids)}
    rows = {q: [place[d] for d in collection.run[q]] for q in asked}
    runs["bi"] = {q: vectors["documents"][rows[q]] @ vectors["queries"][i] for i, q in enumerate(asked)}
    runs["bi+bm25"] = {q: standardise(runs["bi"][q]) + standardise(runs["bm25"][q]) for q in asked}
    if model is not None:
        documents = model.token_ids(texts)
        questions = dict(zip(asked, model.token_ids([collection.texts[q] for q in asked])))
        runs["model"] = {q: model.scores([(questions[q], documents[i]) for i in rows[q]]) for q in asked}
        runs["model+bm25"] = {q: standardise(runs["model"][q]) + standardise(runs["bm25"][q]) for q in asked}
        runs["model+bi+bm25"] = {q: standardise(runs["model"][q]) + runs["bi+bm25"][q] for q in asked}
    print(folder.name, f"{len(asked)} queries")
    for name, scores in runs.items():
        print(f"  {name:14}", json.dumps(collection.measure(collection.run_of(scores))), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("weights", "dev", "collection"))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--collection", type=Path, nargs="+", default=[])
    parser.add_argument("--queries", type=int, help="only so many queries, spread over all")
    parser.add_argument("--lists", type=int, default=40, help="dev lists of each source")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = PairModel(args.model, args.max_length, device=args.device) if args.model else None
    if args.what == "weights":
        choose_weights(args.work)
    elif args.what == "dev":
        dev = DevLists(args.work, model, args.lists, args.depth)
        print(json.dumps(dev.baselines()))
        if model is not None:
            print(json.dumps(dev.measure(model)))
    else:
        for folder in args.collection:
            report_collection(folder, model, args.queries)


if __name__ == "__main__":
    main()
