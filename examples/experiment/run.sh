#!/bin/sh
# A retrieval experiment in three commands, on a collection of sixteen made-up documents and eight queries:
#
#     examples/experiment/run.sh [CROSSRANK]
#
# 1. The first stage's results (bm25.trec; yours come from Lucene, Elasticsearch, tantivy, Pyserini …) are reranked.
# 2. Both runs are measured with judgements.
# 3. The same as one experiment: first stage, bi-encoder, cross-encoder, cascade and fusion, with intervals and costs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
crossrank=${1:-crossrank}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
files="--corpus $here/corpus.jsonl --queries $here/queries.jsonl --run $here/bm25.trec"

# shellcheck disable=SC2086 # the words are to be split
"$crossrank" rerank $files --depth 10 -o "$out/reranked.trec"
"$crossrank" eval "$here/qrels.trec" "$here/bm25.trec" "$out/reranked.trec" nDCG@10 RR@10 --significance
# shellcheck disable=SC2086
"$crossrank" compare $files --qrels "$here/qrels.trec" --show 1
