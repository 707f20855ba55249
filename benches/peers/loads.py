"""The texts that every engine scores: made from a fixed seed, the same on every machine.

Sentences of ordinary English words (frequent words more often), with names, numbers and punctuation, so that a
tokenizer has real work and about as many pieces a word as with prose. Lengths below are in words.

- mixed:      9-350, log-normal around 60: what a search engine's passages look like
- short:      8-40
- long:       300-800; most are cut at the model's 512 tokens
- outlier:    short ones and one of 700 in their middle
- duplicates: a few distinct mixed documents, each many times, in a shuffled order
- query of 10, query of 100: several queries with 10 or 100 mixed documents each, for the latency
"""

import json
import random

from words import CONTENT, DESCRIBING, FUNCTION, SYLLABLES, VERBS

SEED = 20240607

MIXED, SHORT, LONG, OUTLIER, DUPLICATES, QUERY_10, QUERY_100 = (
    "mixed", "short", "long", "outlier", "duplicates", "query of 10", "query of 100",
)  # fmt: skip

# Loads whose throughput is reported, in the order of the table.
THROUGHPUT = [MIXED, SHORT, LONG, OUTLIER, DUPLICATES]
# Loads whose latency is reported: sets of queries.
LATENCY = [QUERY_10, QUERY_100]
NAMES = THROUGHPUT + LATENCY

# How many documents (and for the latency: queries) there are; the second column is for quick runs.
SIZES = {
    MIXED: (100, 40),
    SHORT: (100, 40),
    LONG: (10, 6),
    OUTLIER: (40, 24),
    DUPLICATES: (60, 40),
    QUERY_10: (5, 3),
    QUERY_100: (1, 1),
}
DISTINCT = (20, 10)

QUERIES = [
    "how does the old library keep its books dry?",
    "symptoms of high blood pressure in young people",
    "which treaty ended the war between the two kingdoms",
    "what is the difference between a compiler and an interpreter?",
    "best way to repair a bicycle brake",
    "average temperature of the ocean in winter",
]


class Writer:
    """Writes sentences from a random sequence of its own."""

    def __init__(self, seed):
        self.random = random.Random(f"{SEED} {seed}")
        self.weights = {id(words): zipf(len(words)) for words in (FUNCTION, CONTENT, VERBS, DESCRIBING)}

    def pick(self, words):
        return self.random.choices(words, cum_weights=self.weights[id(words)])[0]

    def name(self):
        return "".join(self.random.choices(SYLLABLES, k=self.random.randint(2, 4))).capitalize()

    def number(self):
        return str(self.random.choice([self.random.randint(2, 99), self.random.randint(1500, 2024)]))

    def word(self):
        kind = self.random.random()
        if kind < 0.44:
            return self.pick(FUNCTION)
        if kind < 0.68:
            return self.pick(CONTENT) + ("s" if self.random.random() < 0.3 else "")
        if kind < 0.82:
            return self.pick(VERBS)
        if kind < 0.94:
            return self.pick(DESCRIBING)
        return self.name() if kind < 0.98 else self.number()

    def text(self, words):
        """That many words in sentences of 6 to 24."""
        sentences = []
        while words > 0:
            length = min(words, self.random.randint(6, 24))
            sentences.append(self.sentence(length))
            words -= length
        return " ".join(sentences)

    def sentence(self, length):
        words = [self.word() for _ in range(length)]
        for position in range(4, length - 2, 7):
            if self.random.random() < 0.5:
                words[position] += ","
        words[0] = words[0][0].upper() + words[0][1:]
        return " ".join(words) + self.random.choices([".", "?"], [9, 1])[0]

    def mixed_length(self):
        """Log-normal, mean about 86 words."""
        return round(min(350, max(9, self.random.lognormvariate(4.15, 0.8))))


def zipf(count):
    """Cumulated weights that fall with the rank, as word frequencies do."""
    total, weights = 0.0, []
    for rank in range(count):
        total += 1 / (rank + 8)
        weights.append(total)
    return weights


def mixed(writer, count):
    return [writer.text(writer.mixed_length()) for _ in range(count)]


def short(writer, count):
    return [writer.text(writer.random.randint(8, 40)) for _ in range(count)]


def documents(load, count, quick, seed):
    """The documents of one request."""
    writer = Writer(seed)
    if load == SHORT:
        return short(writer, count)
    if load == LONG:
        return [writer.text(writer.random.randint(300, 800)) for _ in range(count)]
    if load == OUTLIER:
        texts = short(writer, count)
        texts[count // 2] = writer.text(700)
        return texts
    if load == DUPLICATES:
        distinct = mixed(writer, DISTINCT[quick])
        texts = [distinct[index % len(distinct)] for index in range(count)]
        writer.random.shuffle(texts)
        return texts
    return mixed(writer, count)


def requests(load, quick):
    """The requests of a load: (name, query, documents). Throughput loads have one, latency loads several."""
    size = SIZES[load][quick]
    if load in THROUGHPUT:
        return [(load, QUERIES[0], documents(load, size, quick, load))]
    count = 10 if load == QUERY_10 else 100
    return [
        (f"{load} ({number})", QUERIES[number % len(QUERIES)], documents(load, count, quick, f"{load} {number}"))
        for number in range(size)
    ]


def write(path, quick):
    """Writes all requests as JSON lines; returns {load: [(name of the request, documents in it)]}."""
    index = {}
    with path.open("w", encoding="utf-8") as file:
        for load in NAMES:
            index[load] = []
            for name, query, texts in requests(load, quick):
                file.write(json.dumps({"load": name, "query": query, "documents": texts}) + "\n")
                index[load].append((name, len(texts)))
    return index
