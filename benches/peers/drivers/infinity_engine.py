"""Infinity's engine inside the process: `SyncEngineArray.rerank`, raw scores.

Options: `engine=torch|optimum` (torch, or ONNX Runtime through optimum); `cache=DIR`. Everything else is at the
library's defaults, also the batch size of 32 and the warm-up when it starts. With optimum, it optimises the ONNX file
at its first start and keeps the result in its cache.

The model's folder becomes the current one and is called `.`: given another path, Infinity asks optimum for a file that
optimum does not find (with names on the Hub they agree).
"""

import os

import torch
from protocol import parse_arguments, serve

arguments = parse_arguments(engine="torch", cache="")


def load_engine():
    if arguments.options["cache"]:
        os.environ["HF_HOME"] = os.path.abspath(arguments.options["cache"])
    arguments.texts = os.path.abspath(arguments.texts)
    os.chdir(arguments.model)
    from infinity_emb import EngineArgs, SyncEngineArray

    torch.set_num_threads(arguments.threads)
    engines = SyncEngineArray.from_args(
        [
            EngineArgs(
                model_name_or_path=".", served_model_name="model", engine=arguments.options["engine"],
                device="cpu", dtype="float32",
            )
        ]
    )  # fmt: skip

    def score(query, documents):
        ranking, _ = engines.rerank(model="model", query=query, docs=documents, raw_scores=True).result()
        logits = [0.0] * len(documents)
        for result in ranking:
            logits[result.index] = result.relevance_score
        return logits

    return score


RUNTIME = {"torch": ["sentence-transformers"], "optimum": ["optimum", "onnxruntime"]}
packages = ["infinity-emb", "torch", "transformers"] + RUNTIME[arguments.options["engine"]]
serve(arguments, packages, load_engine)
