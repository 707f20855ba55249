"""What the measurement ran on: the machine, the programs, the weights."""

import hashlib
import json
import os
import platform
import subprocess

from prepare import ROOT

# Instructions that decide how fast small floats and integers are multiplied.
INSTRUCTIONS = ["avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"]


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip().split("\n")[0]
    except OSError:
        return ""


def proc_fields(path, names):
    """The first value of each of the fields of a file like /proc/cpuinfo."""
    fields = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in names:
                fields.setdefault(name.strip(), value.strip())
    return fields


def machine():
    cpu = proc_fields("/proc/cpuinfo", ["model name", "cpu family", "model", "flags"])
    memory = proc_fields("/proc/meminfo", ["MemTotal"])
    flags = cpu.get("flags", "").split()
    model = f" (family {cpu.get('cpu family')}, model {cpu.get('model')})" if "model name" in cpu else ""
    return {
        "processor": cpu.get("model name", platform.machine()) + model,
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory": int(memory.get("MemTotal", "0").split()[0]) * 1024,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, glibc {platform.libc_ver()[1]}",
        "python": platform.python_version(),
        "rust": first_line("rustc", "--version"),
        "load": os.getloadavg()[0],
    }


def crossrank_version():
    """The version, and the commit with a mark if the working tree has changes (results themselves do not count)."""
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    version = next(line.split('"')[1] for line in manifest.splitlines() if line.startswith("version"))
    commit = first_line("git", "rev-parse", "--short=12", "HEAD")
    changed = first_line("git", "status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock", "benches/peers/*.*")
    return f"{version} ({commit}{', changed' if changed else ''})" if commit else version


def weights(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    return (
        f"{config['architectures'][0]}, {config.get('num_hidden_layers')} layers of {config.get('hidden_size')}, "
        f"SHA-256 of model.safetensors {digest[:16]}…"
    )
