"""Join queries with the candidates a first stage found: the input of measure.py.

Reads the BEIR layout (corpus.jsonl, queries.jsonl, plain or gzipped) and a TREC
run; writes one line per query: {"query": ..., "documents": [...]}.
"""

import argparse
import gzip
import json
from pathlib import Path


def lines(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        yield from handle


def read_texts(path):
    """id -> text; a title is put before the text, as BEIR's own code does."""
    texts = {}
    for line in lines(path):
        entry = json.loads(line)
        texts[entry["_id"]] = f"{entry.get('title', '')} {entry['text']}".strip()
    return texts


def read_run(path):
    """query id -> document ids, best rank first."""
    ranked = {}
    for line in lines(path):
        query, _, document, rank, _, _ = line.split()
        ranked.setdefault(query, []).append((int(rank), document))
    return {query: [document for _, document in sorted(found)] for query, found in ranked.items()}


def cut(text, words):
    """The first words of a text, so that the file stays small."""
    return " ".join(text.split()[:words])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="BEIR corpus.jsonl or corpus.jsonl.gz")
    parser.add_argument("--queries", type=Path, required=True, help="BEIR queries.jsonl")
    parser.add_argument("--run", type=Path, required=True, help="TREC run: query Q0 document rank score tag")
    parser.add_argument("--max-queries", type=int, default=50, help="take queries evenly from the run (default 50)")
    parser.add_argument("--depth", type=int, default=10, help="candidates a query, from the top (default 10)")
    parser.add_argument("--words", type=int, default=400, help="keep this many words of a document (default 400)")
    parser.add_argument("--out", type=Path, required=True, help="JSONL to write; lines are added if it exists")
    args = parser.parse_args()

    texts, queries, run = read_texts(args.corpus), read_texts(args.queries), read_run(args.run)
    names = [name for name in run if name in queries]
    names = names[:: max(1, len(names) // args.max_queries)][: args.max_queries]
    with open(args.out, "a", encoding="utf-8") as out:
        for name in names:
            documents = [cut(texts[document], args.words) for document in run[name][: args.depth]]
            out.write(json.dumps({"query": queries[name], "documents": documents}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
