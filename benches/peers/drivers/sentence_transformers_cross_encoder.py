"""sentence-transformers: `CrossEncoder.predict` with the torch, ONNX or OpenVINO backend, raw logits.

Options: `backend=torch|onnx|openvino`; `precision=f32|bf16`, what OpenVINO computes in. Everything else, the batch
size of 32 too, is at the library's defaults.
"""

import logging

import torch
from protocol import parse_arguments, serve

arguments = parse_arguments(backend="torch", precision="f32")


def model_kwargs(backend):
    if backend == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        return {"provider": "CPUExecutionProvider", "file_name": "model.onnx", "session_options": options}
    if backend == "openvino":
        hints = {"INFERENCE_PRECISION_HINT": arguments.options["precision"], "PERFORMANCE_HINT": "LATENCY"}
        return {"ov_config": hints | {"INFERENCE_NUM_THREADS": arguments.threads}}
    return {}


def load_engine():
    from sentence_transformers import CrossEncoder

    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    backend = arguments.options["backend"]
    model = CrossEncoder(
        arguments.model, device="cpu", backend=backend, max_length=arguments.max_length,
        model_kwargs=model_kwargs(backend),
    )  # fmt: skip
    identity = torch.nn.Identity()

    def score(query, documents):
        pairs = [(query, document) for document in documents]
        return model.predict(pairs, activation_fn=identity, show_progress_bar=False).reshape(-1)

    return score


RUNTIME = {
    "torch": [],
    "onnx": ["optimum-onnx", "onnxruntime"],
    "openvino": ["optimum-intel", "openvino"],
}
packages = ["sentence-transformers", "torch", "transformers"] + RUNTIME[arguments.options["backend"]]
serve(arguments, packages, load_engine)
