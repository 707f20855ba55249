"""Trains the cross-encoder on the fused scores of the teachers, and on the labels where there are any.

    python onnx/train/train.py --work WORK --start FOLDER --run RUN [--steps N]

Each step draws lists from every source and, from each list, the documents that the teachers place high, some from further down,
and the labelled ones. With t = SCALE · (fused z-score + BONUS · label) and the student's logits s, a list's loss is

    KL(softmax t ‖ softmax s) + MSE_WEIGHT · mean((s - mean s) - (t - mean t))² + BCE_WEIGHT · BCE(s, label)

the last on labelled lists only, on their relevant documents and those that the teachers place below the middle. With
`--teacher FOLDER`, t are that cross-encoder's logits, and `--match 1:2 2:4` adds, of the pairs whose tokens are the same for both,

    MATCH_WEIGHT · sum over the given layers of |student's hidden states - teacher's|² / |teacher's - their mean|²

The draw depends on the seed and the number of the step alone, and RUN/last.pt holds model, optimizer, average and step, so the
same command goes on where an interrupted run stopped. The learning rate rises, stays, and falls over the last --decay of
--steps; a run can be prolonged with more --steps while it has not begun to fall. RUN/log.jsonl has the losses and the dev
figures; RUN/average the averaged weights at the last dev figure; RUN/best those with the best one.
"""

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch import distributed, multiprocessing
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from evaluate import DevLists
from lists import Lists, fuse
from pairs_model import PairModel

SCALE, BONUS = 2.5, 1.0
STEPS_PER_FILE = 100  # of teach.py
WARM, RECKONED = 100, 400  # --minutes reckons by the time between these steps: the first ones are slower
MSE_WEIGHT, BCE_WEIGHT, MATCH_WEIGHT = 0.1, 0.1, 0.2
# A source's share grows with the root of its size; questions without a passage of their own count less.
SHARES = {
    "squad": 0.5, "trivia": 0.5, "nq": 0.7, "scitldr": 2.0, "arxiv": 2.0, "claims": 1.5, "keywords": 1.0, "selqa": 0.7, "tldr": 0.7
}  # fmt: skip


class Draws:
    """What each step draws: lists, and documents of each. The same for the same seed, whoever draws."""

    def __init__(self, lists, weights, args):
        self.lists, self.weights, self.args = lists, weights, args
        self.numbers = np.flatnonzero(np.diff(lists.offsets) >= args.documents)
        sources = [lists.source(i) for i in self.numbers]
        names, members = np.unique(sources, return_inverse=True)
        sizes = np.bincount(members)
        share = np.array([SHARES.get(n, 1.0) for n in names]) * np.sqrt(sizes)
        self.probabilities = (share / share.sum() / sizes)[members]
        self.mix = {str(n): round(float(s), 3) for n, s in zip(names, share / share.sum())}

    def __getitem__(self, number):
        """Of each list of a step: its number, candidates, targets, labels, and which documents are known."""
        rng = np.random.default_rng([self.args.seed, number])
        chosen = rng.choice(self.numbers, self.args.lists, p=self.probabilities, replace=False)
        return [self.draw(int(i), rng) for i in chosen]

    def draw(self, i, rng):
        candidates, scores, labels = self.lists[i]
        fused = fuse(scores, self.lists.teachers, self.weights) + BONUS * labels
        order = np.argsort(-fused, kind="stable")
        # Without replacement, proportional to 1 / (rank + 3): half of the draw is from the first ten. Two labelled ones stay.
        keys = -np.log(np.arange(len(order)) + 3.0) + rng.gumbel(size=len(order))
        keys[np.flatnonzero(labels[order])[:2]] = np.inf
        chosen = order[np.argsort(-keys, kind="stable")[: self.args.documents]]
        known = labels[chosen] | (fused[chosen] < np.median(fused)) if labels.any() else np.zeros(len(chosen), bool)
        return i, candidates[chosen], (SCALE * fused[chosen]).astype(np.float32), labels[chosen], known


class Sampler(Dataset):
    """Step number → for each part of it, (batches of each model that reads the pairs, what `match` compares in each batch,
    targets, labels, which documents are known)."""

    def __init__(self, draws, models, match, rank, args):
        self.draws, self.models, self.match, self.rank, self.args = draws, models, match, rank, args
        self.texts = [self.tokenised(model) for model in models]
        self.logits = StoredLogits(args) if args.logits else None

    def tokenised(self, model):
        lists = self.draws.lists
        passages, queries = [p["text"] for p in lists.pool], [q["q"] for q in lists.queries]
        return Texts(model.token_ids(queries)), Texts(model.token_ids(passages))

    def __getitem__(self, number):
        drawn = self.draws[number]
        if self.logits:
            drawn = [(i, c, target, *rest) for (i, c, _, *rest), target in zip(drawn, self.logits[number])]
        mine = self.share(drawn)
        parts = [mine[first :: self.args.parts] for first in range(min(self.args.parts, len(mine)))]
        return [self.part(lists) for lists in parts]

    def part(self, lists):
        batches, groups = [], None
        for model, (queries, passages) in zip(self.models, self.texts):
            pairs = [(queries[i], passages[c]) for i, documents, *_ in lists for c in documents]
            batches.append(model.batches(pairs, groups))
            groups = [some for some, *_ in batches[0]]
        matched = [self.match.places(*of_models) for of_models in zip(*batches)] if self.match else None
        return batches, matched, *(np.stack(arrays) for arrays in list(zip(*lists))[2:])

    def share(self, drawn):
        """This process's lists: the longest first, each to whoever has fewest tokens so far."""
        if self.args.processes == 1:
            return drawn
        queries, passages = self.texts[0]
        size = [sum(len(queries[i]) + len(passages[c]) for c in documents) for i, documents, *_ in drawn]
        load, mine = [0] * self.args.processes, []
        for one in np.argsort(size)[::-1]:
            rank = load.index(min(load))
            load[rank] += size[one]
            if rank == self.rank:
                mine.append(drawn[one])
        return mine


def settings_of_draw(args, folder):
    """Writes what decides the draw beside the logits, or refuses others than those that are there."""
    mine = {name: getattr(args, name) for name in ("lists", "documents", "seed")}
    path = folder / "draw.json"
    if not path.exists():
        path.write_text(json.dumps(mine), encoding="utf-8")
    elif (there := json.loads(path.read_text(encoding="utf-8"))) != mine:
        raise SystemExit(f"{folder} has logits of a draw with {there}, and this one is with {mine}")


class StoredLogits:
    """What teach.py writes: step number → logits [lists, documents]. What is not there yet is waited for."""

    def __init__(self, args):
        self.folder, self.first, self.some = args.logits, 0, np.zeros((0,))
        if not self.folder.is_dir():
            raise SystemExit(f"{self.folder} is not a folder; teach.py makes it")
        settings_of_draw(args, self.folder)

    def __getitem__(self, number):
        if not self.first <= number < self.first + len(self.some):
            self.first = number - number % STEPS_PER_FILE
            path = self.folder / f"{self.first}.npy"
            while not path.exists():
                time.sleep(1)
            self.some = np.load(path)
        return self.some[number - self.first]


class Texts:
    """Token ids of many texts in one array, so that processes that read them share the memory."""

    def __init__(self, ids):
        self.ends = np.cumsum([len(part) for part in ids])
        self.ids = np.concatenate(ids)

    def __getitem__(self, i):
        return self.ids[self.ends[i - 1] if i else 0 : self.ends[i]]


def list_losses(logits, target, labels, known):
    """KL, MSE and BCE, each summed over the lists; all are [lists, documents]."""
    kl = functional.kl_div(logits.log_softmax(1), target.log_softmax(1), reduction="sum", log_target=True)
    centred = [values - values.mean(1, keepdim=True) for values in (logits, target)]
    mse = (centred[0] - centred[1]).square().mean(1).sum()
    each = functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    bce = ((each * known).sum(1) / known.sum(1).clamp(min=1)).sum()
    return torch.stack([kl, mse, bce])


class Match:
    """Compares hidden states of the student with the teacher's, where both read the same tokens."""

    def __init__(self, layers, student, teacher):
        self.layers = [tuple(int(number) for number in pair.split(":")) for pair in layers]
        numbers, tokens = teacher.tokenizer.get_vocab(), student.tokenizer.get_vocab()
        self.teachers = np.full(max(tokens.values()) + 1, -1, np.int32)
        for token, number in tokens.items():
            self.teachers[number] = numbers.get(token, -1)

    def places(self, mine, its):
        """Where in a batch of the student and in the teacher's the tokens are of pairs that both read alike: [2, tokens]."""
        (_, ids, lengths, _), (_, others, other_lengths, _) = mine, its
        alike = lengths == other_lengths
        places = [np.flatnonzero(np.repeat(alike, of_model)) for of_model in (lengths, other_lengths)]
        numbers = np.repeat(np.arange(len(lengths)), np.where(alike, lengths, 0))
        alike[numbers[self.teachers[ids[places[0]]] != others[places[1]]]] = False
        return np.stack(places)[:, alike[numbers]].astype(np.int32)

    def __call__(self, places, states, targets):
        """For each pair of layers, the squared distance and what it is measured by: [layers, 2]."""
        mine, its = torch.from_numpy(places).to(states[0].device).long()
        sums = []
        for layer, of_teacher in self.layers:
            state, target = states[layer - 1][mine].float(), targets[of_teacher - 1][its].float()
            sums.append(torch.stack([(state - target).square().sum(), (target - target.mean(0)).square().sum()]))
        return torch.stack(sums)


def as_it_is(drawn):
    return drawn


def learning_rate(step, args):
    """The share of --lr at a step: up, level, down (1 - root of the way)."""
    falling = max(1, int(args.steps * args.decay))
    rest = args.steps - step
    return min(1.0, (step + 1) / args.warmup) * (1.0 if rest >= falling else 1 - math.sqrt(1 - rest / falling))


class Average:
    """An exponential moving average of the weights; in its first steps it looks back less far."""

    def __init__(self, model, decay):
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model, step):
        keep = min(self.decay, (1 + step) / (10 + step))
        now = {name: value for name, value in model.state_dict().items() if value.dtype.is_floating_point}
        torch._foreach_lerp_([self.weights[name] for name in now], list(now.values()), 1 - keep)

    def swap(self, model):
        now = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        return now


def optimizer_of(model, args):
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), fused=True)


class Run:
    """One of the processes of a run. All hold the same weights; each has its share of a step's lists."""

    def __init__(self, args, rank):
        self.args, self.rank = args, rank
        torch.manual_seed(args.seed)
        half = args.bfloat16 or torch.device(args.device).type != "cpu"
        options = {"device": args.device, "half": half}
        self.student = PairModel(args.start, args.max_length, **options)
        self.model = self.student.model.train()
        self.teacher = args.teacher and PairModel(args.teacher, args.max_length, **options)
        self.match = args.match and Match(args.match, self.student, self.teacher)
        self.optimizer = optimizer_of(self.model, args)
        self.average = Average(self.model, args.average)
        self.step, self.best, self.reckoned = 0, -1.0, False
        if (args.run / "last.pt").exists():
            self.load()
        lists = Lists(args.work, "train")
        self.dev = DevLists(args.work, self.student, args.dev_lists, args.dev_depth, lists.pool)
        if self.teacher:
            self.dev.agree_with(self.teacher, rank, args.processes)
        models = [self.student, self.teacher] if self.teacher else [self.student]
        draws = Draws(lists, self.dev.weights, args)
        self.sampler = Sampler(draws, models, self.match, rank, args)
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
        self.log(start=settings, weights=self.dev.weights, mix=draws.mix, train_lists=len(lists))

    def log(self, **values):
        if self.rank != 0:
            return
        line = json.dumps({"step": self.step, "time": int(time.time()), **values})
        print(line, flush=True)
        with (self.args.run / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def save(self):
        if self.rank != 0:
            return
        partial = self.args.run / "last.partial"
        state = {
            "step": self.step,
            "steps": self.args.steps if self.reckoned else None,
            "best": self.best,
            "model": self.model.state_dict(),
            "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, partial)
        partial.replace(self.args.run / "last.pt")

    def load(self):
        state = torch.load(self.args.run / "last.pt", map_location=self.student.device, weights_only=True)
        self.step, self.best = state["step"], state["best"]
        if self.args.minutes and state.get("steps"):
            self.args.steps, self.reckoned = state["steps"], True
        self.model.load_state_dict(state["model"])
        self.average.weights = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])

    def train_step(self, parts):
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.lr * learning_rate(self.step, self.args)
        self.optimizer.zero_grad()
        figures = self.add_up(sum(self.gradients(*part) for part in parts))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.model, self.step)
        return figures

    def gradients(self, batches, places, *arrays):
        """Adds the gradients of one part; its loss, and what that is made of."""
        target, labels, known = (torch.from_numpy(a).to(self.student.device) for a in arrays)
        if self.teacher:
            logits, target, matched = self.beside_teacher(*batches, places)
        else:
            logits, matched = self.student.logits(batches[0]), torch.zeros((), device=target.device)
        losses = list_losses(logits.view_as(labels), target.view_as(labels), labels, known) / self.args.lists
        matched = matched * (len(labels) / self.args.lists)
        loss = losses[0] + MSE_WEIGHT * losses[1] + BCE_WEIGHT * losses[2] + MATCH_WEIGHT * matched
        loss.backward()
        return torch.stack([loss.detach(), *losses.detach(), matched.detach()])

    def beside_teacher(self, mine, its, places):
        """Logits of student and teacher, and how far apart their hidden states are."""
        logits, targets, sums = [], [], torch.zeros((0, 2), device=self.student.device)
        for number, ((_, *arrays), (_, *others)) in enumerate(zip(mine, its)):
            logit, states = self.student.forward(*arrays)
            with torch.no_grad():
                target, wanted = self.teacher.forward(*others)
            logits.append(logit)
            targets.append(target)
            if self.match:
                of_batch = self.match(places[number], states, wanted)
                sums = sums + of_batch if len(sums) else of_batch
        matched = (sums[:, 0] / sums[:, 1].clamp(min=1e-6)).sum()
        return self.student.in_order(mine, logits), self.student.in_order(mine, targets), matched

    def add_up(self, figures):
        """Sums gradients and figures over the processes."""
        if self.args.processes == 1:
            return figures
        gradients = [p.grad for p in self.model.parameters()]
        flat = torch.cat([figures, *(g.flatten() for g in gradients)])
        distributed.all_reduce(flat)
        figures, *parts = flat.split([len(figures), *(g.numel() for g in gradients)])
        for gradient, part in zip(gradients, parts):
            gradient.copy_(part.view_as(gradient))
        return figures

    def evaluate(self):
        now = self.average.swap(self.model)
        figures = self.dev.measure(self.student, self.rank, self.args.processes)
        if self.rank == 0:
            self.student.save(self.args.run / "average")
        self.model.load_state_dict(now)
        self.log(dev=figures)
        if figures["both"] > self.best:
            self.best = figures["both"]
            if self.rank == 0:
                shutil.copytree(self.args.run / "average", self.args.run / "best", dirs_exist_ok=True)

    def due(self, since, minutes):
        """Whether so many minutes are over; the first process's clock decides for all."""
        over = torch.tensor(float(time.time() - since > 60 * minutes))
        if self.args.processes > 1:
            distributed.broadcast(over, 0)
        return bool(over)

    def go(self):
        args = self.args
        if self.step == 0:
            self.log(baselines=self.dev.baselines())
            self.evaluate()
            self.save()
        losses, began, saved, evaluated = [], time.time(), time.time(), time.time()
        started, first = began, self.step
        loader = DataLoader(
            self.sampler,
            batch_size=None,
            sampler=range(self.step, args.steps),
            num_workers=args.workers,
            prefetch_factor=4 if args.workers else None,
            collate_fn=as_it_is,
        )
        for drawn in loader:
            # None in a process of its own; of several, those would go on when the one that started them is killed.
            parent = multiprocessing.parent_process()
            if parent and not parent.is_alive():
                raise SystemExit("the process that started this one is gone")
            losses.append(self.train_step(drawn))
            if self.step % args.log_every == 0:
                pairs = len(losses) * args.lists * args.documents
                means = [round(float(x), 4) for x in torch.stack(losses).mean(0)]
                rate = round(pairs / (time.time() - began), 1)
                self.log(loss=means, lr=self.optimizer.param_groups[0]["lr"], pairs_per_second=rate)
                losses, began = [], time.time()
            if self.step == first + WARM:
                warm = time.time()
            if args.minutes and not self.reckoned and self.step == first + RECKONED:
                self.reckoned = True
                seconds = (time.time() - warm) / (RECKONED - WARM)
                args.steps = int(self.step + max(1, 60 * args.minutes - (time.time() - started)) / seconds)
                self.log(steps=args.steps)
            if self.step >= args.steps:
                break
            if self.due(evaluated, args.dev_minutes):
                self.evaluate()
                evaluated = began = time.time()
                losses = []
            if self.due(saved, args.save_minutes):
                self.save()
                saved = time.time()
        self.evaluate()
        self.save()


def work(rank, args):
    torch.set_num_threads(args.threads)
    if args.processes > 1:
        store = distributed.FileStore(str(args.run / "processes"), args.processes)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=args.processes)
    Run(args, rank).go()


def draw_options(parser):
    """What decides which pairs a step draws."""
    parser.add_argument("--lists", type=int, default=6, help="lists a step")
    parser.add_argument("--documents", type=int, default=10, help="documents drawn from a list")
    parser.add_argument("--seed", type=int, default=13)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    draw_options(parser)
    parser.add_argument("--work", type=Path, required=True, help="folder of lists-train.npz")
    parser.add_argument("--start", required=True, help="folder of the model that training starts from")
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoints and the log")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--lr", type=float, default=4e-5)
    parser.add_argument("--parts", type=int, default=1, help="a process computes its share of a step in so many: less memory")
    parser.add_argument("--warmup", type=int, default=50, help="steps")
    parser.add_argument("--decay", type=float, default=0.2, help="share of the steps in which the learning rate falls")
    parser.add_argument("--average", type=float, default=0.995, help="decay of the average of the weights")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--dev-lists", type=int, default=8, help="dev lists of each source, measured during training")
    parser.add_argument("--dev-depth", type=int, default=30)
    parser.add_argument("--dev-minutes", type=float, default=30)
    parser.add_argument("--save-minutes", type=float, default=5)
    parser.add_argument("--log-every", type=int, default=20)
    # Processes of one thread each: on shared cores a thread that has to wait then holds up a step, not every operation.
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare the steps of a process")
    parser.add_argument("--device", default="cpu", help="cuda: one process, and some workers to keep it busy")
    parser.add_argument("--minutes", type=float, help="as many steps as take so long, by the time of the first ones")
    parser.add_argument("--teacher", type=Path, help="a cross-encoder whose logits are the targets, instead of the fusion")
    parser.add_argument("--match", nargs="+", help="layers whose hidden states follow the teacher's, such as 1:2 2:4")
    parser.add_argument("--logits", type=Path, help="a folder of teach.py with that cross-encoder's logits")
    # Measured on a Zen 5, where products in 16 bits have instructions of their own: 1.5 to 3 times the speed.
    parser.add_argument("--bfloat16", action="store_true", help="products in 16 bits on a CPU too")
    args = parser.parse_args()
    if args.match and not args.teacher:
        parser.error("--match needs --teacher")
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / "processes").unlink(missing_ok=True)
    if args.processes == 1:
        work(0, args)
    else:
        multiprocessing.spawn(work, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
