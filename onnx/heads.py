"""What a model is for, what its graph is to give, and what the reference says.

A reranker that is a language model gives the difference of two words' logits after the
last token (or one word's logit): the rest of its vocabulary is left out of the file.
"""

import inspect
import json
from pathlib import PurePosixPath

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

CROSS_ENCODER = "cross-encoder"
EMBEDDING = "embedding"
NEXT_TOKEN = "next-token"
LATE_INTERACTION = "late-interaction"

OUTPUT_NAME = {
    CROSS_ENCODER: "logits", EMBEDDING: "last_hidden_state", NEXT_TOKEN: "logits", LATE_INTERACTION: "token_embeddings",
}  # fmt: skip

# The words that answer, where no `LogitScore` module names them.
ANSWERS = {
    "Qwen3ForCausalLM": ("yes", "no"),
    "Qwen2ForCausalLM": ("1", "0"),
    "GemmaForCausalLM": ("Yes",),
    "T5ForConditionalGeneration": ("▁true", "▁false"),
}

# Families that take a ready additive mask. Left to build it themselves, they export
# some twenty nodes that do the same for every kind of attention there is.
SIMPLE_MASK_FAMILIES = {"bert", "roberta", "xlm-roberta", "electra"}


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def architecture(folder):
    return (read_json(folder / "config.json").get("architectures") or [""])[0]


def modules(folder):
    """The modules of sentence-transformers: (class name, folder)."""
    path = folder / "modules.json"
    listed = read_json(path) if path.is_file() else []
    return [(module["type"].rsplit(".", 1)[-1], inside(folder, module["path"])) for module in listed]


def inside(folder, name):
    """The folder of a module. A checkpoint may come from anyone: a name that leads out of it is refused."""
    path = folder / name
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/") or set(name) & set("\\:") or not path.resolve().is_relative_to(folder.resolve()):
        raise SystemExit(f"{folder}: modules.json points outside the model's folder: {name!r}")
    return path


def model_kind(folder):
    """What the files say the model is; the head decides before the modules do."""
    name, classes = architecture(folder), {kind for kind, _ in modules(folder)}
    settings = folder / "config_sentence_transformers.json"
    settings = read_json(settings) if settings.is_file() else {}
    if name == "HF_ColBERT" or settings.get("model_type") == "ColBERT" or "MultiVectorMask" in classes:
        return LATE_INTERACTION
    if "LogitScore" in classes or name in ANSWERS and not classes & {"Pooling"}:
        return NEXT_TOKEN
    if name.endswith("ForSequenceClassification"):
        return CROSS_ENCODER
    if classes:
        return EMBEDDING
    raise SystemExit(
        f"{folder}: it is not known what to make of a {name or 'model without an architecture'}: it is no sequence classifier, "
        "no sentence-transformers model, and no language model that is known as a reranker"
    )


def load(folder, kind, tokenizer, input_names):
    """The module to export, in fp32 with plain attention, which exports to plain nodes.

    Its `input_names` are those of the given names that the model knows.
    """
    options = {"attn_implementation": "eager"}
    if kind == CROSS_ENCODER:
        return OneOutput(weights(AutoModelForSequenceClassification, folder, **options), kind, input_names)
    if kind == EMBEDDING:
        return OneOutput(encoder(folder, options), kind, input_names)
    if kind == LATE_INTERACTION:
        return Projected(encoder(folder, options), kind, input_names, projections(folder))
    words = answer_ids(folder, tokenizer)
    if architecture(folder).endswith("ForConditionalGeneration"):
        return FirstToken(weights(AutoModelForSeq2SeqLM, folder, **options), words)
    return LastToken(weights(AutoModelForCausalLM, folder, **options), words)


def weights(family, folder, **options):
    """A model of transformers with all its weights: none may be left as the random numbers it begins with."""
    options |= {"dtype": torch.float32, "trust_remote_code": False, "output_loading_info": True}
    try:
        model, loading = family.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise SystemExit(f"{folder}: the model cannot be loaded: {first_line(error)}") from None
    missing = sorted(loading["missing_keys"])
    if missing:
        raise SystemExit(f"{folder}: the weights lack {len(missing)} tensors of a {type(model).__name__}, first {missing[0]}")
    return model.eval()


def first_line(error):
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def encoder(folder, options):
    # The pooler is not part of the sentence embedding; leave it out if we can.
    try:
        return weights(AutoModel, folder, add_pooling_layer=False, **options)
    except TypeError:
        return weights(AutoModel, folder, **options)


def answer_ids(folder, tokenizer):
    """The ids of the words whose logits are compared."""
    for kind, place in modules(folder):
        if kind == "LogitScore":
            score = read_json(place / "config.json")
            ids = [score["true_token_id"], score.get("false_token_id")]
            return [number for number in ids if number is not None]
    words = ANSWERS[architecture(folder)]
    ids = tokenizer.convert_tokens_to_ids(list(words))
    if any(number is None or number == tokenizer.unk_token_id for number in ids):
        raise SystemExit(f"{folder}: the vocabulary lacks one of the answers {', '.join(words)}: is it this kind of reranker?")
    return ids


def projections(folder):
    """The weights that make a late-interaction model's vectors of hidden states, in their order."""
    if architecture(folder) == "HF_ColBERT":
        return [load_file(folder / "model.safetensors")["linear.weight"].float()]
    found = []
    for kind, place in modules(folder):
        if kind != "Dense":
            continue
        settings = read_json(place / "config.json")
        # Without a word the activation is Tanh.
        linear = settings.get("activation_function", "Tanh").endswith("Identity") and not settings.get("use_residual")
        if settings.get("bias") or not linear:
            raise SystemExit(f"{place}: a projection with a bias, an activation or a residual is not supported")
        found.append(load_file(place / "model.safetensors")["linear.weight"].float())
    if not found:
        raise SystemExit(f"{folder}: a late-interaction model has a Dense module, and modules.json lists none")
    return found


class OneOutput(torch.nn.Module):
    """Names the inputs in a fixed order and leaves only the output we ship."""

    def __init__(self, model, kind, input_names):
        super().__init__()
        # A tokenizer may give what its model has no use for, as BERT's does beside a DistilBERT.
        known = inspect.signature(model.forward).parameters
        self.model, self.input_names = model, [name for name in input_names if name in known]
        self.output = "last_hidden_state" if kind == LATE_INTERACTION else OUTPUT_NAME[kind]
        self.simple_mask = model.config.model_type in SIMPLE_MASK_FAMILIES

    def forward(self, *inputs):
        named = dict(zip(self.input_names, inputs))
        if self.simple_mask:
            named["attention_mask"] = additive_mask(named["attention_mask"])
        return self.model(**named)[self.output]

    def reference(self, inputs):
        return self.model(**{name: inputs[name] for name in self.input_names})[self.output]


class Projected(OneOutput):
    """Hidden states after the projection."""

    def __init__(self, model, kind, input_names, weights):
        super().__init__(model, kind, input_names)
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(weight) for weight in weights)

    def forward(self, *inputs):
        return self.project(super().forward(*inputs))

    def reference(self, inputs):
        return self.project(super().reference(inputs))

    def project(self, hidden):
        for weight in self.weights:
            hidden = hidden @ weight.T
        return hidden


class Answer(torch.nn.Module):
    """A language model whose head has only the rows of the words that answer.

    What the model's own code does before and after its head (T5 scales what goes in, Gemma 2 caps what
    comes out, Granite divides it) stays as it is.
    """

    input_names = ["input_ids", "attention_mask"]

    def __init__(self, model, words):
        super().__init__()
        self.model, self.words = model, words
        whole = model.get_output_embeddings()
        few = torch.nn.Linear(whole.in_features, len(words), bias=whole.bias is not None)
        few.weight = torch.nn.Parameter(whole.weight.detach()[words].clone())
        if whole.bias is not None:
            few.bias = torch.nn.Parameter(whole.bias.detach()[words].clone())
        self.heads = {"whole": whole, "few": few}  # in a dict: the whole one is no part of what is exported
        model.set_output_embeddings(few)

    def reference(self, inputs):
        """Each text alone, by the whole model with all its words."""
        self.model.set_output_embeddings(self.heads["whole"])
        try:
            texts = zip(inputs["input_ids"], inputs["attention_mask"])
            rows = [self.next_token(ids[mask == 1].unsqueeze(0))[self.words] for ids, mask in texts]
        finally:
            self.model.set_output_embeddings(self.heads["few"])
        return difference(torch.stack(rows))


class LastToken(Answer):
    """A decoder's answer: its logits for what comes after the last token that is not padding."""

    def forward(self, *inputs):
        input_ids, attention_mask = inputs
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        places = torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device)
        last = (attention_mask * places).argmax(1)
        return difference(logits[torch.arange(input_ids.shape[0], device=input_ids.device), last])

    def next_token(self, ids):
        return self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0, -1]


class FirstToken(Answer):
    """An encoder-decoder's answer: its logits for the first token."""

    def forward(self, *inputs):
        input_ids, attention_mask = inputs
        start = torch.full_like(input_ids[:, :1], self.model.config.decoder_start_token_id)
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=start, use_cache=False)
        return difference(output.logits[:, -1])

    def next_token(self, ids):
        start = torch.tensor([[self.model.config.decoder_start_token_id]])
        return self.model(input_ids=ids, decoder_input_ids=start, use_cache=False).logits[0, -1]


def difference(logits):
    """Of the two words' logits, or the one word's: [texts, words] → [texts, 1]."""
    return logits[:, :1] - logits[:, 1:] if logits.shape[1] > 1 else logits


def additive_mask(mask):
    """0 for a token, the lowest float for padding, ready to be added to all heads."""
    return (1.0 - mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
