"""The line protocol of benches/peers for drivers in Python.

A driver loads its model, scores one pair and writes a line that says so. Then it answers requests, one JSON object a
line: `{"load": NAME}` runs the query and the documents of that name once and says how many seconds the engine took;
with `"scores": true` the logits go with it. The texts are read from a file only after the first score.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import time

# The pair that every driver scores before it says that it is ready.
FIRST = ("What is the capital of France?", "Paris is the capital and the largest city of France.")


def parse_arguments(**defaults):
    """`--model DIR --texts FILE --threads N --max-length N KEY=VALUE…`; the keys are those of `defaults`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    options = dict(defaults)
    for option in arguments.options:
        key, _, value = option.partition("=")
        if key not in defaults:
            parser.error(f"no option {key}")
        options[key] = value
    arguments.options = options
    return arguments


def private_stdout():
    """The real stdout; from now on everything that a library prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


def serve(arguments, packages, load_engine):
    """Loads the engine, then answers requests until stdin ends.

    `load_engine()` gives a function (query, documents) -> logits in the documents' order, which is timed as a whole.
    """
    out = private_stdout()
    score = load_engine()
    score(FIRST[0], [FIRST[1]])
    versions = {package: importlib.metadata.version(package) for package in packages}
    print(json.dumps({"ready": True, "versions": versions}), file=out, flush=True)

    with open(arguments.texts, encoding="utf-8") as file:
        loads = {load["load"]: load for load in map(json.loads, file)}
    for line in sys.stdin:
        request = json.loads(line)
        load = loads[request["load"]]
        start = time.perf_counter()
        logits = score(load["query"], load["documents"])
        answer = {"seconds": time.perf_counter() - start}
        if request.get("scores"):
            answer["scores"] = [float(logit) for logit in logits]
        print(json.dumps(answer), file=out, flush=True)
