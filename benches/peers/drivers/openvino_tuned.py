"""OpenVINO at its best: throughput mode, asynchronous requests, documents by falling length in tokens, small batches.

What someone writes who knows both OpenVINO and the load. Options: `precision=f32|bf16`; `budget=N`, the most tokens of
a batch, padding counted (one document may have more).
"""

import os

import numpy as np
import openvino
from protocol import parse_arguments, serve
from tokenizers import Tokenizer

arguments = parse_arguments(precision="f32", budget="512")


def load_engine():
    tokenizer = Tokenizer.from_file(os.path.join(arguments.model, "tokenizer.json"))
    tokenizer.enable_truncation(arguments.max_length)
    model = openvino.Core().compile_model(
        os.path.join(arguments.model, "model.onnx"),
        "CPU",
        {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": arguments.options["precision"],
            "INFERENCE_NUM_THREADS": arguments.threads,
        },
    )
    names = [name for value in model.inputs for name in value.names]
    queue = openvino.AsyncInferQueue(model)
    budget = int(arguments.options["budget"])

    def score(query, documents):
        encodings = tokenizer.encode_batch([(query, document) for document in documents])
        logits = np.empty(len(documents), np.float32)

        def keep(request, indexes):
            logits[indexes] = request.get_output_tensor(0).data[:, 0]

        queue.set_callback(keep)
        for indexes in batches([len(encoding.ids) for encoding in encodings], budget):
            inputs = padded([encodings[index] for index in indexes])
            queue.start_async({name: inputs[name] for name in names}, indexes)
        queue.wait_all()
        return logits

    return score


def batches(lengths, budget):
    """Indexes by falling length, as many together as fit into the budget with the first one's length."""
    batch = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def padded(encodings):
    """The inputs of a BERT-like model, padded with zeros to the longest of the batch."""
    shape = (len(encodings), max(len(encoding.ids) for encoding in encodings))
    inputs = {name: np.zeros(shape, np.int64) for name in ("input_ids", "token_type_ids", "attention_mask")}
    for row, encoding in enumerate(encodings):
        length = len(encoding.ids)
        inputs["input_ids"][row, :length] = encoding.ids
        inputs["token_type_ids"][row, :length] = encoding.type_ids
        inputs["attention_mask"][row, :length] = 1
    return inputs


serve(arguments, ["openvino", "tokenizers"], load_engine)
