"""The texts that the training reads: passages, questions, and which collection each comes from.

    python onnx/train/sources.py --training FOLDER --work WORK --exclude COLLECTION … [--scitldr CHECKOUT] [--arxiv CHECKOUT]

writes WORK/pool.jsonl (every passage once) and WORK/queries.jsonl (labelled and unlabelled queries, split into "train" and
"dev"). What stands in a collection given with --exclude is removed from both, and the result is checked again.
"""

import argparse
import csv
import gzip
import json
import lzma
import math
import random
import re
from collections import Counter
from pathlib import Path

# Where each text comes from and what may be done with it. A group or question of a source that is not listed is refused.
LICENCES = {
    "squad-sent": "SQuAD 1.1, single sentences (Wikipedia), CC BY-SA 4.0",
    "squad": "SQuAD 1.1, questions only, CC BY-SA 4.0",
    "xquad": "XQuAD, English (Wikipedia), CC BY-SA 4.0",
    "nq": "Natural Questions (Wikipedia), CC BY-SA 3.0",
    "trivia": "TriviaQA, questions only, Apache-2.0",
    "ares-nq": "ARES synthetic questions, Apache-2.0, on Wikipedia passages, CC BY-SA",
    "ares-hotpotqa": "ARES synthetic questions, Apache-2.0, on Wikipedia passages, CC BY-SA",
    "ares-wow": "ARES synthetic questions, Apache-2.0, on Wikipedia passages, CC BY-SA",
    "ares-fever": "ARES synthetic claims, Apache-2.0, on Wikipedia passages, CC BY-SA",
    "2wiki-title": "Wikipedia titles and first paragraphs, CC BY-SA",
    "selqa": "SelQA (Wikipedia), Apache-2.0",
    "tldr": "tldr-pages, CC BY 4.0",
    "medquad": "MedQuAD, CC BY 4.0",
    "covid-qa": "COVID-QA, Apache-2.0",
    "pubmedqa": "PubMedQA, MIT",
    "chunk-eval": "Chroma's chunking evaluation, MIT",
    "docs-rag": "questions on documentation, MIT",
    "scitldr": "SciTLDR abstracts and one-sentence summaries, Apache-2.0",
    "arxiv": "arXiv titles and abstracts to 2019, CC0",
}
# arXiv's categories that are read. Those of machine learning and language are not: collections of papers are full of them;
# nor are the largest files, of over 4 MB.
ARXIV = (
    "cs.AR cs.CC cs.CE cs.CG cs.CR cs.CY cs.DB cs.DC cs.DL cs.DM cs.ET cs.FL cs.GL cs.GR cs.GT cs.HC cs.LO cs.MA cs.MM cs.MS "
    "cs.NA cs.NI cs.OH cs.OS cs.PF cs.PL cs.RO cs.SC cs.SD cs.SE cs.SI cs.SY econ.EM econ.GN econ.TH eess.AS eess.IV eess.SP "
    "eess.SY stat.AP stat.CO stat.ME stat.OT q-bio.BM q-bio.CB q-bio.GN q-bio.MN q-bio.NC q-bio.OT q-bio.PE q-bio.QM q-bio.SC "
    "q-bio.TO q-fin.CP q-fin.EC q-fin.GN q-fin.PM q-fin.RM q-fin.ST q-fin.TR physics.acc-ph physics.ao-ph physics.app-ph "
    "physics.bio-ph physics.class-ph physics.comp-ph physics.data-an physics.ed-ph physics.geo-ph physics.hist-ph "
    "physics.med-ph physics.plasm-ph physics.pop-ph physics.space-ph nlin.AO nlin.CD nlin.CG math.HO math.LO math.MG math.ST"
).split()
# Sources whose passages are long enough, and close enough to each other, to be joined into long documents.
JOINABLE = {"medquad", "covid-qa", "pubmedqa", "nq", "ares-nq", "ares-hotpotqa", "ares-wow", "ares-fever", "xquad"}

WORDS = re.compile(r"\w+")


def words(text):
    return WORDS.findall(text.lower())


def read_jsonl(path):
    path = Path(path)
    with (gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")) as lines:
        for line in lines:
            yield json.loads(line)


def write_jsonl(path, rows):
    with Path(path).open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


class Pool:
    """Every passage once, with the source that it was first seen in."""

    def __init__(self):
        self.texts, self.sources, self.ids = [], [], {}

    def add(self, text, source):
        text = " ".join(text.split())
        known = self.ids.setdefault(text, len(self.texts))
        if known == len(self.texts):
            self.texts.append(text)
            self.sources.append(source)
        return known


class Queries:
    """Queries with their relevant passages; the same question in several groups is one query."""

    def __init__(self):
        self.rows = {}

    def add(self, text, source, split, positive=None, hide=None):
        text = " ".join(text.split())
        if not WORDS.search(text):
            return
        row = self.rows.setdefault(
            " ".join(words(text)), {"q": text, "src": source, "split": split, "pos": [], "hide": hide}
        )
        if split == "dev":
            row["split"] = "dev"
        if positive is not None and positive not in row["pos"]:
            row["pos"].append(positive)


def joined(group, rng):
    """A long document: the relevant passage among up to four of its neighbours, which the group has as negatives."""
    texts = [group["pos"], *group["negs"][: rng.randint(1, 4)]]
    rng.shuffle(texts)
    return " ".join(" ".join(texts).split()[: rng.randint(150, 380)])


def read_groups(training, pool, queries, rng, share_joined):
    for split in ("dev", "train"):
        for group in read_jsonl(training / f"{split}.jsonl.gz"):
            positive = pool.add(group["pos"], group["src"])
            for negative in group["negs"]:
                pool.add(negative, group["src"])
            queries.add(group["q"], group["src"], split, positive)
            if split == "train" and group["src"] in JOINABLE and rng.random() < share_joined:
                document = joined(group, rng)
                if " ".join(group["pos"].split()) in document:
                    queries.add(group["q"], group["src"], split, pool.add(document, group["src"]))
    for question in read_jsonl(training / "questions.jsonl.gz"):
        queries.add(question["q"], question["src"], "train")


def read_scitldr(checkout, pool, queries):
    """Abstracts of computer science papers; a one-sentence summary is a query that reads like a claim."""
    for name in ("train", "dev", "test"):
        for paper in read_jsonl(checkout / "SciTLDR-Data" / "SciTLDR-A" / f"{name}.jsonl"):
            abstract = pool.add(" ".join(paper["source"]), "scitldr")
            split = "dev" if name == "test" else "train"
            queries.add(paper["target"][0], "scitldr", split, abstract)
            if paper.get("title"):
                queries.add(paper["title"], "scitldr", split, abstract)


def read_arxiv(checkout, pool, queries, rng, each):
    """Papers of many subjects, up to `each` of a category. Of half of them the abstract is a passage, and the title its query;
    of a quarter the title stands before the abstract, and of a quarter it is all that there is: a short document."""
    seen = set()
    for category in ARXIV:
        papers = []
        with lzma.open(checkout / "processed_data/20200101/per_category" / f"{category}.tsv.xz", "rt", encoding="utf-8") as rows:
            for row in csv.DictReader(rows, delimiter="\t"):
                # Formulas are left out: no retriever has been taught to read them.
                if not re.search(r"[$\\^]", row["title"] + row["abstract"]) and len(words(row["abstract"])) >= 25:
                    papers.append((row["title"], row["abstract"]))
        for title, abstract in rng.sample(papers, min(each, len(papers))):
            if title in seen:
                continue
            seen.add(title)
            kind, split = rng.randrange(4), "dev" if rng.random() < 0.02 else "train"
            if kind < 2:
                queries.add(title, "arxiv", split, pool.add(abstract, "arxiv"))
            else:
                pool.add(title if kind == 2 else f"{title}. {abstract}", "arxiv")


def generated_queries(pool, rng, count):
    """Keyword queries (rare words of a passage), claims (a sentence) and long queries (two to four sentences in a row); of the
    last two, the passage that they are from is hidden from their candidates."""
    frequency = Counter()
    for text in pool.texts:
        frequency.update(set(words(text)))
    order = [i for i, text in enumerate(pool.texts) if len(words(text)) >= 25]
    rng.shuffle(order)
    for i in order[:count]:
        terms = {w for w in words(pool.texts[i]) if len(w) > 2 and not w.isdigit() and frequency[w] >= 3}
        weights = sorted(terms, key=lambda w: -math.log(len(pool.texts) / frequency[w]) * rng.random())
        if len(weights) >= 5:
            yield " ".join(weights[: rng.choice((2, 3, 3, 4, 5, 8, 12))]), "keywords", pool.sources[i], None
    rng.shuffle(order)
    for i in order[:count]:
        sentences = [s for s in re.split(r"(?<=[.!?])\s+", pool.texts[i]) if 7 <= len(words(s)) <= 40]
        if len(sentences) >= 2:
            yield rng.choice(sentences), "claims", pool.sources[i], i
    rng.shuffle(order)
    for i in order[: count // 2]:
        sentences = re.split(r"(?<=[.!?])\s+", pool.texts[i])
        if len(sentences) >= 4:
            first = rng.randrange(len(sentences) - 1)
            text = " ".join(sentences[first : first + rng.choice((2, 3, 4))])
            if 15 <= len(words(text)) <= 90:
                yield text, "long", pool.sources[i], i


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def shingles(text, size):
    tokens = words(text)
    return {" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


class Exclusion:
    """The evaluation sets: BEIR folders (corpus, queries) or any JSON file, all of whose strings are excluded."""

    PASSAGE, QUERY = 12, 7  # words in a row that no passage, and no query, may share with an evaluation set

    def __init__(self, paths):
        self.passages, self.queries, self.names = set(), set(), []
        for path in map(Path, paths):
            self.names.append(path.name)
            if path.is_dir():
                for document in read_jsonl(next(path.glob("corpus.jsonl*"))):
                    self.passages |= shingles(document.get("title", "") + " " + document["text"], self.PASSAGE)
                texts = [row["text"] for row in read_jsonl(next(path.glob("queries.jsonl*")))]
            else:
                texts = list(strings(json.loads(path.read_text(encoding="utf-8"))))
                for text in texts:
                    self.passages |= shingles(text, self.PASSAGE)
            for text in texts:
                self.queries.add(" ".join(words(text)))
                self.queries |= shingles(text, self.QUERY)

    def has_passage(self, text):
        return not self.passages.isdisjoint(shingles(text, self.PASSAGE))

    def has_query(self, text):
        return " ".join(words(text)) in self.queries or not self.queries.isdisjoint(shingles(text, self.QUERY))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=Path, required=True, help="folder of train, dev and questions .jsonl.gz")
    parser.add_argument("--scitldr", type=Path, help="a checkout of allenai/scitldr")
    parser.add_argument("--arxiv", type=Path, help="a checkout of staeiou/arxiv_archive")
    parser.add_argument("--arxiv-each", type=int, default=400, help="papers of each of arXiv's categories")
    parser.add_argument("--exclude", nargs="+", required=True, help="evaluation sets: BEIR folders or JSON files")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--generated", type=int, default=20000, help="generated queries of each kind")
    parser.add_argument("--joined", type=float, default=0.3, help="share of groups that also give a joined long document")
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()

    pool, queries = Pool(), Queries()
    rng = random.Random(args.seed)
    read_groups(args.training, pool, queries, rng, args.joined)
    if args.scitldr:
        read_scitldr(args.scitldr, pool, queries)
    if args.arxiv:
        read_arxiv(args.arxiv, pool, queries, random.Random(args.seed), args.arxiv_each)
    for text, source, origin, hide in generated_queries(pool, rng, args.generated):
        queries.add(text, f"{source}:{origin}", "train", hide=hide)

    exclusion = Exclusion(args.exclude)
    dropped = {i for i, text in enumerate(pool.texts) if exclusion.has_passage(text)}
    kept = [i for i in range(len(pool.texts)) if i not in dropped]
    number = {old: new for new, old in enumerate(kept)}
    passages = [{"id": new, "src": pool.sources[old], "text": pool.texts[old]} for new, old in enumerate(kept)]
    rows, refused = [], 0
    for row in queries.rows.values():
        if exclusion.has_query(row["q"]) or not dropped.isdisjoint(row["pos"]) or row["hide"] in dropped:
            refused += 1
            continue
        row["pos"] = [number[i] for i in row["pos"]]
        row["hide"] = None if row["hide"] is None else number[row["hide"]]
        rows.append(row)

    origins = {p["src"] for p in passages} | {r["src"].split(":")[-1] for r in rows}
    if unknown := origins - LICENCES.keys():
        raise SystemExit(f"sources without a licence in LICENCES: {', '.join(sorted(unknown))}")
    assert not any(exclusion.has_passage(p["text"]) for p in passages)
    assert not any(exclusion.has_query(r["q"]) for r in rows)

    args.work.mkdir(parents=True, exist_ok=True)
    write_jsonl(args.work / "pool.jsonl", passages)
    write_jsonl(args.work / "queries.jsonl", rows)
    by_source = Counter(r["src"].split(":")[0] for r in rows if r["split"] == "train")
    report = {
        "excluded_sets": exclusion.names,
        "passages": len(passages),
        "passages_dropped": len(dropped),
        "queries_dropped": refused,
        "train_queries": by_source,
        "dev_queries": Counter(r["src"] for r in rows if r["split"] == "dev"),
        "licences": {s: LICENCES[s] for s in sorted(origins)},
    }
    (args.work / "sources.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
