"""BERT's layers over pairs of unlike length, whose tokens stand one after another without padding: [tokens, size].

They are computed here and not by transformers: of the last layer only the first token is needed, which saves a third of the time
with three layers; a GPU need not see any padding; and on a CPU in 16 bits torch's own attention is slow backwards.
"""

import math

import torch
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn


class Layout:
    """Where the tokens of each pair are."""

    def __init__(self, lengths, device):
        self.pairs, self.longest, tokens = len(lengths), int(lengths.max()), int(lengths.sum())
        lengths = torch.from_numpy(lengths).to(device)
        self.borders = functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
        self.firsts = self.borders[:-1].long()
        self.pair = torch.repeat_interleave(torch.arange(self.pairs, device=device), lengths, output_size=tokens)
        self.place = torch.arange(tokens, device=device) - self.firsts[self.pair]
        self.each = torch.arange(self.pairs + 1, dtype=torch.int32, device=device)
        self.slots = None
        if tokens < self.pairs * self.longest:
            self.slots = self.pair * self.longest + self.place
            self.real = (torch.arange(self.longest, device=device) < lengths[:, None])[:, None, None]

    def padded(self, values):
        """[tokens, heads, size] as [pairs, heads, longest, size]."""
        if self.slots is not None:
            every = values.new_zeros((self.pairs * self.longest, *values.shape[1:]))
            values = every.index_copy(0, self.slots, values)
        return values.unflatten(0, (self.pairs, self.longest)).transpose(1, 2)

    def packed(self, values):
        """The way back."""
        values = values.transpose(1, 2).flatten(0, 1)
        return values if self.slots is None else values[self.slots]


class Bert:
    """The layers of a BERT of transformers; its parameters stay that model's. `fused` is torch's own attention."""

    def __init__(self, model, max_length, fused=True):
        self.bert, self.max_length, self.fused = model, max_length, fused
        self.heads = model.config.num_attention_heads

    def __call__(self, ids, lengths, firsts):
        """The first tokens' last states [pairs, size], and what each layer but the last gives to the next [tokens, size]."""
        device = self.bert.device
        layout = Layout(lengths, device)
        ids, firsts = (torch.from_numpy(a).to(device).long() for a in (ids, firsts))
        hidden = self.embedded(ids, layout.place, layout.place >= firsts[layout.pair])
        states = []
        for layer in self.bert.encoder.layer[:-1]:
            hidden = self.layer(layer, hidden, hidden, layout)
            states.append(hidden)
        return self.layer(self.bert.encoder.layer[-1], hidden[layout.firsts], hidden, layout), states

    def embedded(self, ids, place, document):
        parts = self.bert.embeddings
        # Not looked up: the gradient of a table with two rows would add up half of the tokens one by one on a GPU.
        query, document_less_query = parts.token_type_embeddings.weight[0], parts.token_type_embeddings.weight.diff(dim=0)
        kinds = query + document[:, None] * document_less_query
        return parts.LayerNorm(parts.word_embeddings(ids) + kinds + parts.position_embeddings(place))

    def layer(self, layer, asking, hidden, layout):
        """What a layer makes of the tokens `asking`: all of `hidden`, or the first of each pair. They attend to all of a pair."""
        attention = layer.attention.self
        query = attention.query(asking)
        both = [torch.cat([a, b]) for a, b in zip(attention.key.parameters(), attention.value.parameters())]
        key, value = functional.linear(hidden, *both).chunk(2, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in (query, key, value))
        context = self.attend(query, key, value, asking is not hidden, layout).flatten(1)
        middle = layer.attention.output(context, asking)
        return layer.output(layer.intermediate(middle), middle)

    def attend(self, query, key, value, only_first, layout):
        """All are [tokens, heads, size]."""
        if query.is_cuda and query.dtype != torch.float32:
            asked, most = (layout.each, 1) if only_first else (layout.borders, self.max_length)
            return varlen_attn(query, key, value, asked, layout.borders, most, self.max_length)
        query = query[:, :, None] if only_first else layout.padded(query)
        key, value = layout.padded(key), layout.padded(value)
        mask = None if layout.slots is None else layout.real
        if self.fused:
            context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
            if mask is not None:
                scores = scores.masked_fill(~mask, -1e4)
            context = scores.softmax(-1) @ value
        return context[:, :, 0] if only_first else layout.packed(context)
