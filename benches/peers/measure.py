"""Drives the same requests through all engines, in turns, and collects what they took.

1. Starts: every engine in a fresh process, in turns: seconds from the start of the process to the first score. The
   first of these processes then runs the mixed load once and nothing else: its peak memory is the one reported, and
   its rate is that of the first time, with nothing warm.
2. Rounds: in each round and for each load, every engine runs the load once, one after the other; in the next round
   another one begins. A process runs a load once before that is timed. Only one process runs at any time: the others
   are stopped by a signal. They stay in memory as long as there is room.
"""

import time
import loads
import prepare
from driver import Driver, DriverError
from engines import TOLERANCE
from prepare import HERE, WORK, say

MAX_LENGTH = 512
TUNING_ROUNDS = 2
# Memory that must be free beside what an engine is known to need.
SPARE = 3 << 30


class Stand:
    """Where drivers are started: the texts, the weights, the processors."""

    def __init__(self, texts, folders, cpus, extra):
        self.texts, self.folders, self.cpus, self.extra = texts, folders, cpus, extra
        self.tuned = {}
        (WORK / "logs").mkdir(exist_ok=True)

    def command(self, engine, options):
        kind, name = engine.program.split("/")
        if kind == "crate":
            program = [prepare.target_folder() / "release" / f"{name}-driver"]
        else:
            program = [prepare.python(kind), HERE / "drivers" / f"{name}.py"]
        arguments = ["--model", self.folders[engine.weights], "--texts", self.texts, "--threads", len(self.cpus)]
        return [str(part) for part in [*program, *arguments, "--max-length", MAX_LENGTH, *options]]

    def options(self, engine):
        options = [*engine.options, *self.extra.get(engine.family, [])]
        if engine.key in self.tuned:
            options.append(f"{engine.tune[0]}={self.tuned[engine.key]}")
        if engine.family == "Infinity":
            options.append(f"cache={WORK / 'cache' / engine.key}")
        return options

    def versions(self, engine):
        kind, name = engine.program.split("/")
        return prepare.crate_versions(name) if kind == "crate" else {}

    def start(self, engine, more=()):
        environment = prepare.environment(len(self.cpus))
        log = WORK / "logs" / f"{engine.key}.log"
        return Driver(self.command(engine, [*self.options(engine), *more]), environment, self.cpus, log)


def tune(stand, engine, request):
    """Which of the values is fastest on the request; all values in turns."""
    key, *values = engine.tune
    drivers = {}
    try:
        for value in values:
            drivers[value] = stand.start(engine, [f"{key}={value}"])
            drivers[value].run(request)
        times = {value: [] for value in values}
        for _ in range(TUNING_ROUNDS):
            for value in values:
                times[value].append(drivers[value].run(request)[0])
    finally:
        for driver in drivers.values():
            driver.close()
    return min(values, key=lambda value: min(times[value]))


class Result:
    """What was measured of one engine."""

    def __init__(self, engine):
        self.engine = engine
        self.failure = None
        self.versions = {}
        self.tuned = None
        self.starts = []
        self.peak = None
        self.first_seconds = None
        """Of the mixed load in a fresh process."""
        self.seconds = {}
        """{load: [[seconds of each request] of each round]}"""
        self.logits = {}
        """{load: logits}, of the loads whose throughput is reported"""

    def fail(self, error):
        say(f"{self.engine.key}: {error}")
        self.failure = str(error)

    def difference(self, reference):
        """The largest difference of a logit from the reference's."""
        pairs = [pair for load in self.logits for pair in zip(self.logits[load], reference.logits.get(load, []))]
        # A comparison with NaN is false; it must not pass for equality.
        return max((abs(a - b) if a == a else float("inf") for a, b in pairs), default=None)

    def off(self, reference):
        """Whether the scores differ by more than the precision explains."""
        difference = self.difference(reference)
        return difference is not None and difference > TOLERANCE[self.engine.precision]

    def as_json(self, reference, results):
        """An engine that is off in one precision is so in all: in int8 alone it might not be seen."""
        same = [result for result in results if result.engine.title == self.engine.title]
        return {
            "key": self.engine.key, "title": self.engine.title, "precision": self.engine.precision,
            "failure": self.failure, "versions": self.versions, "tuned": self.tuned, "starts": self.starts,
            "peak": self.peak, "first_seconds": self.first_seconds, "seconds": self.seconds, "difference": self.difference(reference),
            "off": any(result.off(reference) for result in same),
        }  # fmt: skip


def working(results):
    return [result for result in results if result.failure is None]


def tune_all(stand, results, request):
    for result in working(results):
        if result.engine.tune:
            say(f"tuning {result.engine.key}")
            try:
                value = stand.tuned[result.engine.key] = tune(stand, result.engine, request)
                result.tuned = f"{result.engine.tune[0]} {value}"
            except DriverError as error:
                result.fail(error)


def measure_starts(stand, results, count, peak_load):
    for number in range(count):
        say(f"starts, {number + 1} of {count}")
        for result in working(results):
            try:
                driver = stand.start(result.engine)
                try:
                    result.starts.append(driver.start_seconds)
                    result.versions = stand.versions(result.engine) | driver.versions
                    if number == 0:
                        result.first_seconds, _ = driver.run(peak_load)
                        result.peak = driver.memory("VmHWM")
                finally:
                    driver.close()
            except DriverError as error:
                result.fail(error)


class Crew:
    """The running drivers: started when they are needed, ended when memory is."""

    def __init__(self, stand):
        self.stand = stand
        self.drivers = {}
        self.warm = {}

    def driver(self, result):
        key = result.engine.key
        if key not in self.drivers:
            self.drivers[key], self.warm[key] = self.stand.start(result.engine), set()
        return self.drivers[key]

    def make_room(self, result, share):
        """Ends others until this engine's peak fits: first those that hold much and start fast.

        `share` is how large the largest request is in comparison with the one that the peak was measured with.
        """
        key = result.engine.key
        present = self.drivers[key].memory("VmRSS") if key in self.drivers else 0
        needed = (result.peak or 0) * max(1, share) - present + SPARE
        while available_memory() < needed:
            others = [driver for other, driver in self.drivers.items() if other != key]
            if not others:
                return
            worst = max(others, key=lambda driver: driver.memory("VmRSS") / driver.start_seconds)
            self.end(next(other for other, driver in self.drivers.items() if driver is worst))

    def end(self, key):
        self.drivers.pop(key).close()

    def close(self):
        for key in list(self.drivers):
            self.end(key)


def available_memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def turn(crew, result, load, requests, peak_documents):
    """One engine runs one load once; the first time that this process does, it does so once more before."""
    crew.make_room(result, max(count for _, count in requests) / peak_documents)
    driver = crew.driver(result)
    warm = crew.warm[result.engine.key]
    if load not in warm:
        keep = load in loads.THROUGHPUT and load not in result.logits
        _, logits = driver.run(requests[0][0], scores=keep)
        if keep:
            result.logits[load] = logits
        warm.add(load)
    return [driver.run(name)[0] for name, _ in requests]


def measure_rounds(stand, results, requests, rounds, peak_documents, until):
    """As many rounds as were asked for, or as begin before `until` (time.monotonic); returns their number."""
    crew = Crew(stand)
    try:
        for number in range(rounds):
            if number and time.monotonic() > until:
                return number
            for load in requests:
                say(f"round {number + 1} of {rounds}, {load}")
                able = working(results)
                first = number % max(1, len(able))
                for result in able[first:] + able[:first]:
                    try:
                        seconds = turn(crew, result, load, requests[load], peak_documents)
                        result.seconds.setdefault(load, []).append(seconds)
                    except DriverError as error:
                        result.fail(error)
                        crew.drivers.pop(result.engine.key, None)
        return rounds
    finally:
        crew.close()

