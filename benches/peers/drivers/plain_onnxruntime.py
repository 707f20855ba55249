"""Plain ONNX Runtime in Python, the floor: tokenise, pad, run, 32 documents at a time.

Options: `sort=tokens` runs the documents by falling length in tokens; by default they run in the order they arrive.
`batch=N`, the batch size.
"""

import os

import numpy as np
import onnxruntime
from protocol import parse_arguments, serve
from tokenizers import Tokenizer

arguments = parse_arguments(sort="", batch="32")


def load_engine():
    tokenizer = Tokenizer.from_file(os.path.join(arguments.model, "tokenizer.json"))
    tokenizer.enable_truncation(arguments.max_length)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(
        os.path.join(arguments.model, "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    names = {value.name for value in session.get_inputs()}
    size = int(arguments.options["batch"])

    def score(query, documents):
        encodings = tokenizer.encode_batch([(query, document) for document in documents])
        order = list(range(len(documents)))
        if arguments.options["sort"] == "tokens":
            order.sort(key=lambda index: -len(encodings[index].ids))
        logits = np.empty(len(documents), np.float32)
        for start in range(0, len(order), size):
            indexes = order[start : start + size]
            inputs = padded([encodings[index] for index in indexes])
            outputs = session.run(None, {name: inputs[name] for name in names})
            logits[indexes] = outputs[0][:, 0]
        return logits

    return score


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


serve(arguments, ["onnxruntime", "tokenizers"], load_engine)
