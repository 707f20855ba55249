"""Query and document as token ids, batches of like length, and one logit for each pair."""

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

QUERY_TOKENS = 96  # a longer query is cut; the rest of the length is the document's
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class PairModel:
    """A cross-encoder with one logit, and its tokenizer."""

    def __init__(self, folder, max_length=512, tokens_per_batch=512):
        self.folder = Path(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        # No dropout: the targets are soft and no pair is seen often, so there is nothing to keep from being learnt by heart.
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        self.max_length = max_length
        self.tokens_per_batch = tokens_per_batch

    def token_ids(self, texts):
        """Token ids of each text without special tokens."""
        encode = self.tokenizer(texts, add_special_tokens=False, truncation=True, max_length=self.max_length)
        return [np.array(ids, np.int32) for ids in encode["input_ids"]]

    def pair(self, query, document):
        query = query[:QUERY_TOKENS]
        document = document[: self.max_length - len(query) - 3]
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return np.concatenate([[cls], query, [sep], document, [sep]]), len(query) + 2

    def logits(self, pairs):
        """The logits of (query ids, document ids), in their order; gradients flow where they are enabled."""
        pairs = [self.pair(*pair) for pair in pairs]
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
        parts, places = [], []
        while order:
            length = len(pairs[order[-1]][0])
            some = [order.pop() for _ in range(min(len(order), max(1, self.tokens_per_batch // length)))]
            parts.append(self.forward([pairs[i] for i in some], length))
            places.extend(some)
        back = torch.empty(len(places), dtype=torch.long)
        back[torch.tensor(places)] = torch.arange(len(places))
        return torch.cat(parts)[back]

    def forward(self, pairs, length):
        ids = np.full((len(pairs), length), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(ids)
        types = np.zeros_like(ids)
        for row, (tokens, first) in enumerate(pairs):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
            types[row, first : len(tokens)] = 1
        inputs = {"input_ids": ids, "token_type_ids": types}
        if mask.min() == 0:
            inputs["attention_mask"] = mask
        return self.model(**{name: torch.from_numpy(value) for name, value in inputs.items()}).logits[:, 0]

    @torch.inference_mode()
    def scores(self, pairs):
        training = self.model.training
        self.model.eval()
        out = self.logits(pairs).numpy()
        self.model.train(training)
        return out

    def save(self, folder):
        self.model.save_pretrained(folder)
        if not self.folder.is_dir():
            self.tokenizer.save_pretrained(folder)
        # As they are: written again by another version of transformers, they have other keys.
        for name in TOKENIZER_FILES:
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, Path(folder) / name)
