"""crossrank as a pipe from Python: a request is a line, and so is its answer. No server, no package.

    python3 examples/pipe.py [CROSSRANK]
"""

import json, subprocess, sys

command = [sys.argv[1] if len(sys.argv) > 1 else "crossrank", "rerank"]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as crossrank:
    for query in ("capital of France", "how is bread made"):
        documents = ["Bread is baked in an oven.", "Paris is the capital of France.", "France borders Spain."]
        print(json.dumps({"query": query, "documents": documents, "top_n": 2}), file=crossrank.stdin)
        for result in json.loads(crossrank.stdout.readline())["results"]:
            print(f"{query}: {result['relevance_score']:.4f} {documents[result['index']]}")
    crossrank.stdin.close()
