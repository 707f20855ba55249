"""Installs the pinned peers, builds the drivers and makes the weights; whatever is there already is left alone."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from engines import CHECKPOINT, ONNX_FP32, ONNX_INT8, OPENVINO

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = HERE / ".work"

# The virtual environments and what is in them. `torch` is the one of the export, which has the newest
# sentence-transformers too.
VENVS = {
    "plain": HERE / "requirements" / "plain.txt",
    "torch": ROOT / "onnx" / "requirements.txt",
    "st-onnx": HERE / "requirements" / "st-onnx.txt",
    "st-openvino": HERE / "requirements" / "st-openvino.txt",
    "infinity": HERE / "requirements" / "infinity.txt",
}
CRATES = ["crossrank", "fastembed"]


class Failed(Exception):
    """A step that did not work; the message is the reason."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def check(command, **named):
    """Runs a command and keeps its output in the log."""
    log = WORK / "logs" / "prepare.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as out:
        print("\n$", *command, file=out, flush=True)
        start = out.tell()
        code = subprocess.run([str(part) for part in command], stdout=out, stderr=out, **named).returncode
    if code != 0:
        text = log.read_bytes()[start:].decode("utf-8", "replace").splitlines()
        errors = [line.strip() for line in text if line.lower().startswith("error")] or text[-1:]
        raise Failed(f"{Path(command[0]).name}: {errors[0][:300] if errors else f'exit code {code}'}")


def python(venv):
    return WORK / "venvs" / venv / "bin" / "python"


def install_venv(name):
    """A virtual environment with what its file lists; a stamp says that it is complete and for which list."""
    folder, requirements = WORK / "venvs" / name, VENVS[name]
    stamp = folder / "installed"
    wanted = f"{sys.version_info[:2]} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say(f"installing {name} ({requirements.relative_to(ROOT)})")
    shutil.rmtree(folder, ignore_errors=True)
    check([sys.executable, "-m", "venv", folder])
    check([python(name), "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", requirements])
    stamp.write_text(wanted)


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR") or WORK / "target")


def build_crate(name):
    say(f"building the driver of {name}")
    environment = os.environ | {"CARGO_TARGET_DIR": str(target_folder())}
    library = onnxruntime_library()
    if library:
        environment["ORT_DYLIB_PATH"] = str(library)
    manifest = HERE / name / "Cargo.toml"
    check(["cargo", "build", "--release", "--locked", "--manifest-path", manifest], env=environment)


def crate_versions(name):
    """The packages whose versions matter, from the lock file of a driver's crate, and the library that it loads."""
    packages = tomllib.loads((HERE / name / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    versions = {package["name"]: package["version"] for package in packages}
    library = onnxruntime_library().name.removeprefix("libonnxruntime.so.")
    return {key: versions[key] for key in (name, "ort", "tokenizers")} | {"ONNX Runtime": library}


def onnxruntime_library():
    """The ONNX Runtime that all engines run on that take one: the shared library of the environment `plain`."""
    found = sorted(WORK.glob("venvs/plain/lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.*"))
    return found[0] if found else None


def installed(needs):
    """Installs what the engines need; returns {what: reason} for what could not be installed.

    `plain` and `torch` are always there: one has ONNX Runtime, the other makes the weights.
    """
    failures = {}
    names = [f"venv {name}" for name in VENVS if f"venv {name}" in needs or name in ("plain", "torch")]
    names += [f"crate {name}" for name in CRATES if f"crate {name}" in needs]
    for need in names:
        kind, name = need.split()
        try:
            install_venv(name) if kind == "venv" else build_crate(name)
        except (Failed, OSError) as error:
            say(f"{need}: {error}")
            failures[need] = str(error)
    return failures


def make_weights(checkpoint, openvino):
    """The same weights in the formats that engines take; returns ({format: folder}, {format: reason})."""
    name = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    base = WORK / "weights" / name[:16]
    folders = {CHECKPOINT: checkpoint} | {kind: base / kind for kind in (ONNX_FP32, ONNX_INT8, OPENVINO)}
    steps = {
        ONNX_FP32: [python("torch"), ROOT / "onnx" / "export.py", checkpoint],
        ONNX_INT8: [python("torch"), ROOT / "onnx" / "quantize.py", folders[ONNX_FP32]],
    }
    if openvino:
        steps[OPENVINO] = [python("st-openvino"), HERE / "drivers" / "export_openvino.py", checkpoint]
    more = {ONNX_INT8: ["--precision", "int8-dynamic"]}
    failures = {}
    for kind, command in steps.items():
        if folders[kind].is_dir():
            continue
        say(f"making the weights {kind}")
        # Finished or not there at all.
        unfinished = base / f"{kind}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        try:
            check([*command, unfinished, *more.get(kind, [])], env=environment(1))
            unfinished.rename(folders[kind])
        except (Failed, OSError) as error:
            say(f"{kind}: {error}")
            failures[kind] = str(error)
    return folders, failures


def environment(threads):
    """The environment of every driver: one ONNX Runtime, no network, no telemetry, the same number of threads."""
    quiet = {
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        "ORT_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    caches = {"HF_HOME": str(WORK / "cache" / "hf"), "TORCH_HOME": str(WORK / "cache" / "torch")}
    count = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    library = onnxruntime_library()
    runtime = {"ORT_DYLIB_PATH": str(library)} if library else {}
    return os.environ | quiet | caches | count | runtime
