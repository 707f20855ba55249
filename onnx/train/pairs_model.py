"""Query and document as token ids, batches of like length, and one logit for each pair."""

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

QUERY_TOKENS = 96  # a longer query is cut; the rest of the length is the document's
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class PairModel:
    """A cross-encoder with one logit, and its tokenizer; with `half`, its products are computed in bfloat16."""

    def __init__(self, folder, max_length=512, tokens_per_batch=None, device="cpu", half=False):
        self.folder, self.device, self.half = Path(folder), torch.device(device), half
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        # No dropout: the targets are soft and no pair is seen often, so there is nothing to keep from being learnt by heart.
        on_cpu = self.device.type == "cpu"
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            # Backwards, torch's own attention is slow on a CPU in 16 bits.
            attn_implementation="eager" if on_cpu and half else "sdpa",
        )
        self.model.to(self.device)
        self.max_length = max_length
        # On a CPU in 32 bits, little padding is what counts; a GPU needs enough to do.
        self.tokens_per_batch = tokens_per_batch or (65536 if not on_cpu else 2048 if half else 512)

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
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return np.concatenate([[cls], query, [sep], document, [sep]]), len(query) + 2

    def batches(self, pairs):
        """Batches of (query ids, document ids), longest pairs first: each the pairs' numbers, their token ids [pairs, longest],
        their lengths and where the document begins."""
        pairs = [self.pair(*pair) for pair in pairs]
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
        batches = []
        while order:
            length = len(pairs[order[-1]][0])
            some = [order.pop() for _ in range(min(len(order), max(1, self.tokens_per_batch // length)))]
            ids = np.full((len(some), length), self.tokenizer.pad_token_id, np.int32)
            for row, i in zip(ids, some):
                row[: len(pairs[i][0])] = pairs[i][0]
            lengths = np.array([len(pairs[i][0]) for i in some], np.int32)
            firsts = np.array([pairs[i][1] for i in some], np.int32)
            batches.append((some, ids, lengths, firsts))
        return batches

    def logits(self, batches):
        """The logits of what `batches` made, in the order of its pairs; gradients flow where they are enabled."""
        places = torch.tensor([place for some, *_ in batches for place in some], device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            parts = torch.cat([self.forward(*arrays) for _, *arrays in batches]).float()
        return torch.zeros_like(parts).index_copy(0, places, parts)

    def forward(self, ids, lengths, firsts):
        padded = bool(lengths.min() < ids.shape[1])
        ids, lengths, firsts = (torch.from_numpy(a).to(self.device).long() for a in (ids, lengths, firsts))
        place = torch.arange(ids.shape[1], device=self.device)
        mask = place < lengths[:, None]
        inputs = {"input_ids": ids, "token_type_ids": (mask & (place >= firsts[:, None])).long()}
        if padded:
            inputs["attention_mask"] = mask.long()
        return self.model(**inputs).logits[:, 0]

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
