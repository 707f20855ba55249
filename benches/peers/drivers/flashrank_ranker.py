"""FlashRank: `Ranker.rerank`, the package itself, on our files under the name of one of its models.

Its `Ranker` takes only the models of its own list, but downloads nothing if the folder is there. So the folder gets
the name it expects. Two things are put around ONNX Runtime's session, neither of which costs time: the number of
threads, which FlashRank does not let one choose, and a note of the logits, which it returns only after a sigmoid.
"""

import functools
import os
import sys
import tempfile

import onnxruntime
from flashrank import Ranker, RerankRequest
from flashrank.Config import model_file_map
from protocol import parse_arguments, serve

arguments = parse_arguments()
NAME = "ms-marco-TinyBERT-L-2-v2"


class NotingSession:
    """An ONNX Runtime session that remembers its last output."""

    def __init__(self, session):
        self.session, self.last = session, None

    def run(self, names, inputs):
        self.last = self.session.run(names, inputs)
        return self.last


def folder_of_that_name(cache):
    folder = os.path.join(cache, NAME)
    os.mkdir(folder)
    for name in os.listdir(arguments.model):
        target = model_file_map[NAME] if name == "model.onnx" else name
        os.symlink(os.path.abspath(os.path.join(arguments.model, name)), os.path.join(folder, target))


def load_engine():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    # The package's name `Ranker` is the class; the module of that name is what imports ONNX Runtime.
    module = sys.modules["flashrank.Ranker"]
    module.ort.InferenceSession = functools.partial(onnxruntime.InferenceSession, sess_options=options)
    with tempfile.TemporaryDirectory() as cache:
        folder_of_that_name(cache)
        ranker = Ranker(NAME, cache_dir=cache, max_length=arguments.max_length, log_level="WARNING")
    ranker.session = NotingSession(ranker.session)

    def score(query, documents):
        ranker.rerank(RerankRequest(query=query, passages=[{"text": text} for text in documents]))
        return ranker.session.last[0][:, 0]

    return score


serve(arguments, ["FlashRank", "onnxruntime", "tokenizers"], load_engine)
