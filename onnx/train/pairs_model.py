"""Query and document as token ids, batches of like length, and one logit for each pair."""

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bert import Bert

QUERY_TOKENS = 96  # a longer query is cut; the rest of the length is the document's
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class PairModel:
    """A BERT with one logit, and its tokenizer; with `half`, its products are computed in bfloat16."""

    def __init__(self, folder, max_length=512, tokens_per_batch=None, device="cpu", half=False):
        self.folder, self.device, self.half = Path(folder), torch.device(device), half
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.cls, self.sep = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        # No dropout: the targets are soft and no pair is seen often, so there is nothing to keep from being learnt by heart.
        on_cpu = self.device.type == "cpu"
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.model.to(self.device)
        self.bert = Bert(self.model.bert, max_length, fused=not (on_cpu and half))
        self.max_length = max_length
        # On a CPU in 32 bits, little padding is what counts; a GPU needs enough to do.
        self.tokens_per_batch = tokens_per_batch or (262144 if not on_cpu else 2048 if half else 512)

    def token_ids(self, texts):
        """Token ids of each text without special tokens."""
        out = []
        # Some at a time: what the tokenizer returns takes a hundred times as much memory as the ids.
        for first in range(0, len(texts), 4096):
            some = texts[first : first + 4096]
            encode = self.tokenizer(some, add_special_tokens=False, truncation=True, max_length=self.max_length)
            out += [np.array(ids, np.int32) for ids in encode["input_ids"]]
        return out

    def pair(self, query, document):
        query = query[:QUERY_TOKENS]
        document = document[: self.max_length - len(query) - 3]
        return np.concatenate([self.cls, query, self.sep, document, self.sep]), len(query) + 2

    def batches(self, pairs, groups=None):
        """Batches of (query ids, document ids), longest pairs first: each the pairs' numbers, their token ids one after another
        [tokens], their lengths and where the document begins. With `groups`, the pairs of each batch."""
        pairs = [self.pair(*pair) for pair in pairs]
        return [self.batch(pairs, some) for some in groups or self.groups([len(ids) for ids, _ in pairs])]

    def groups(self, lengths):
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        while order:
            longest = lengths[order[-1]]
            yield [order.pop() for _ in range(min(len(order), max(1, self.tokens_per_batch // longest)))]

    @staticmethod
    def batch(pairs, some):
        ids = [pairs[i][0] for i in some]
        lengths, firsts = np.array([len(of_pair) for of_pair in ids], np.int32), np.array([pairs[i][1] for i in some], np.int32)
        return some, np.concatenate(ids).astype(np.int32), lengths, firsts

    def logits(self, batches):
        """The logits of what `batches` made, in the order of its pairs; gradients flow where they are enabled."""
        return self.in_order(batches, [self.forward(*arrays)[0] for _, *arrays in batches])

    def in_order(self, batches, logits):
        places = torch.tensor([place for some, *_ in batches for place in some], device=self.device)
        logits = torch.cat(logits)
        return torch.zeros_like(logits).index_copy(0, places, logits)

    def forward(self, ids, lengths, firsts):
        """The logits [pairs] and what each layer but the last gives to the next: [tokens, size]."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            first, states = self.bert(ids, lengths, firsts)
            return self.model.classifier(self.model.bert.pooler(first[:, None]))[:, 0].float(), states

    @torch.inference_mode()
    def scores(self, pairs):
        training = self.model.training
        self.model.eval()
        out = self.logits(self.batches(pairs)).cpu().numpy()
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
