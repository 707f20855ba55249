"""Exports a checkpoint for sentence-transformers' OpenVINO backend, so that its driver need not do so at each start."""

import sys

from sentence_transformers import CrossEncoder

checkpoint, out = sys.argv[1:]
CrossEncoder(checkpoint, device="cpu", backend="openvino", model_kwargs={"export": True}).save_pretrained(out)
