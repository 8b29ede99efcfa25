"""The whole road: measure, score, search, fine-tune, quantize, compile, verify."""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.trial import FrozenTrial
from torch import nn

import dtmm_mlir
from dtmm_mlir.artifact import Artifact
from dtmm_mlir.errors import DtmmError
from dtmm_mlir.manifest import tool_versions
from dtmm_mlir.pruning.budget import Budget
from dtmm_mlir.pruning.cost import Cost, Predictor
from dtmm_mlir.pruning.figure import draw_front
from dtmm_mlir.pruning.importance import Importance, contributions
from dtmm_mlir.pruning.layers import find_layers
from dtmm_mlir.pruning.masks import Masks, bake, masks_of
from dtmm_mlir.pruning.recipe import Recipe
from dtmm_mlir.pruning.scheduler import Candidate, Method, Sampler, Space, front, none_within, search
from dtmm_mlir.pruning.stages import Stages
from dtmm_mlir.pruning.tuning import fine_tune
from dtmm_mlir.quantization import quantize_int8
from dtmm_mlir.targets import get_target

_FINALISTS = 6
"""Candidates of a search, at most, that are fine-tuned."""

_MORE = 12
"""Networks near the one that is found that are fine-tuned, too, where the cheapest one is looked for."""

_LOST = 0.2
"""Importance that a network which keeps the metric loses next; where it does not keep it then, half of that."""

_GROWS, _MOST_LOST = 1.5, 0.5
"""Times more importance is lost next where it does, and the most of it."""

_ROUNDS = 4
"""Networks that are fine-tuned and measured before a budget counts as missed."""


@dataclass(frozen=True)
class Settings:
    """How to prune.

    Attributes:
        target: a microcontroller, see ``dtmm_mlir.targets``.
        budget: what the network may take; without a limit of the cost, the fewest instructions within ``budget.drop``
            are looked for.
        method: what to remove: filterlets, whole filters, or both.
        importance: ``magnitude``, ``taylor`` or ``fisher``, see ``importance.contributions``.
        trials: candidates to try.
        effort: of training each, as a part of fine-tuning.
        seed: of everything random.
        sampler: ``tpe`` of Optuna, or DTMM's ``annealing``.
        storage: URL of a database that workers share; by default a file in the run's folder.
    """

    target: str = "cortex-m55"
    budget: Budget = field(default_factory=lambda: Budget(drop=1.0))
    method: Method = "both"
    importance: Importance = "taylor"
    trials: int = 60
    effort: float = 0.1
    seed: int = 0
    sampler: Sampler = "tpe"
    storage: str | None = None


@dataclass(frozen=True)
class Outcome:
    """A network on the chip.

    Attributes:
        cost: measured: counted in QEMU, linked, and the arena.
        host_metric, metric: of the int8 network on the host and in QEMU, in points.
        float_metric: before quantization.
    """

    cost: Cost
    float_metric: float
    host_metric: float
    metric: float

    def json(self) -> dict[str, Any]:
        """As it stands in ``result.json``."""
        return {**asdict(self.cost), **{k: v for k, v in vars(self).items() if k != "cost"}}

    @staticmethod
    def read(entry: dict[str, Any]) -> Outcome:
        """What ``json`` made."""
        entry = dict(entry)
        return Outcome(Cost(*(entry.pop(name) for name in ("instructions", "flash", "ram"))), **entry)


def prune(
    recipe: Recipe, settings: Settings, out: str | Path, progress: Callable[[str], None] = lambda step: None
) -> dict[str, Any]:
    """Prunes, fine-tunes, quantizes, compiles and verifies the network of ``recipe``.

    ``out`` then holds ``artifact``, the compiled network; ``pruned.pt``, the fine-tuned one; ``study.db``, all trials;
    ``front.svg``, the best of them; and ``result.json``, which is returned. A run that was interrupted goes on where it
    was, with the same result.

    Args:
        recipe: the network and its data.
        settings: budgets among them.
        out: folder of the run.
        progress: called with a few words ahead of each step.

    Raises:
        DtmmError: the budget cannot be met, saying what is nearest; or the folder holds another run.
    """
    if get_target(settings.target).is_host:
        raise DtmmError("pruning is for a microcontroller: instructions are counted in QEMU; name another target.")
    return _Run(recipe, settings, Path(out), progress).result()


class _Run:
    """One run in its folder."""

    def __init__(self, recipe: Recipe, settings: Settings, out: Path, progress: Callable[[str], None]) -> None:
        self.recipe, self.settings, self.progress = recipe, settings, progress
        self.stages = Stages(out, _identity(recipe, settings))
        self.storage = settings.storage or f"sqlite:///{(out / 'study.db').absolute()}"
        self.dense = Outcome.read(self.stages.json("dense", self._measure_dense))
        self.space = self._space()

    def result(self) -> dict[str, Any]:
        return self.stages.json("result", self._find)

    def _measure_dense(self) -> dict[str, Any]:
        self.progress("compiling and measuring the network before pruning")
        return self._measure(copy.deepcopy(self.recipe.model()), "dense").json()

    def _space(self) -> Space:
        model, example = self.recipe.model(), self.recipe.example()
        settings = self.settings

        def score() -> dict[str, np.ndarray]:
            names = [layer.name for layer in find_layers(model, example)]
            batches = self.recipe.batches()
            torch.manual_seed(settings.seed)
            return contributions(model, names, settings.importance, batches, self.recipe.loss, self.progress)

        scores = self.stages.tensors("scores", score)
        predictor = Predictor.of(model, example, self.dense.cost, get_target(settings.target))
        return Space(self.recipe, predictor, scores, settings.importance, settings.method)

    def _find(self) -> dict[str, Any]:
        """Searches and measures until a network keeps the budget; a miss makes the next search aim lower."""
        budget, tried = self.settings.budget, list[dict[str, Any]]()
        aim = budget
        for round in range(_ROUNDS):
            searched = self._search(aim, f"{round}")
            trials = front(searched)
            if not trials and not tried:
                raise none_within(searched, aim)
            if not trials:
                break
            found = self._cheapest(searched) if budget.without_limits() else self._most_accurate(trials, aim)
            tried.append(found)
            outcome = Outcome.read(found["measured"])
            if budget.allows(outcome.cost) and self._keeps_metric(found):
                return self._report(found, trials)
            aim = _lower(aim, budget, outcome.cost, Cost(**found["predicted"]))
            if aim == budget or not self._keeps_metric(found):
                break
        raise self._missed([Outcome.read(each["measured"]) for each in tried])

    def _search(self, budget: Budget, name: str) -> list[FrozenTrial]:
        return search(
            self.space,
            budget,
            self.settings.trials,
            effort=self.settings.effort,
            seed=self.settings.seed,
            storage=self.storage,
            name=f"{self.settings.method}-{name}",
            sampler=self.settings.sampler,
            shared=self.settings.storage is not None,
            progress=self.progress,
        )

    def _most_accurate(self, trials: list[FrozenTrial], budget: Budget) -> dict[str, Any]:
        """That of the smallest loss after fine-tuning, among the best of the search."""
        tuned = [self._tuned(trial) for trial in trials[-_FINALISTS // 2 :]]
        within = [each for each in tuned if budget.allows(Cost(**each["predicted"]))]
        return self._measured(min(within or tuned, key=lambda each: each["loss"]))

    def _cheapest(self, searched: list[FrozenTrial]) -> dict[str, Any]:
        """The cheapest network that keeps the metric, the dearest where none does: candidates from all over the front
        are fine-tuned from the cheapest on until one does, and where none does, some that take more; then some near
        it."""
        trials = front(searched)
        places = _spread(0, len(trials), _FINALISTS)
        while dearer := front([trial for trial in searched if trial.values[1] > trials[-1].values[1]]):
            trials += dearer
        places += _spread(places[-1] + 1, len(trials), _FINALISTS // 2)
        missed = -1
        for place in places:
            found = self._measured(self._tuned(trials[place]))
            if self._keeps_metric(found):
                return self._cheaper(found, trials[missed + 1 : place])
            missed = place
        return found

    def _cheaper(self, found: dict[str, Any], trials: list[FrozenTrial]) -> dict[str, Any]:
        """The cheapest network that keeps the metric among ``found`` and some more: those of the cheaper ``trials``, by
        bisection, in turns with networks that go on from the best so far where filterlets may go."""
        lost, goes_on = _LOST, self.settings.method != "filters"
        for turn in range(_MORE):
            trials = [trial for trial in trials if trial.values[1] < found["predicted"]["instructions"]]
            bisects = bool(trials) and not (goes_on and turn % 2)
            if not bisects and not goes_on:
                break
            middle = len(trials) // 2
            tried = self._measured(self._tuned(trials[middle]) if bisects else self._tuned_again(found, lost))
            better = self._keeps_metric(tried) and _measured_instructions(tried) < _measured_instructions(found)
            if bisects:
                trials = trials[:middle] if better else trials[middle + 1 :]
            else:
                lost = min(lost * _GROWS, _MOST_LOST) if better else lost / 2
            found = tried if better else found
        return found

    def _keeps_metric(self, found: dict[str, Any]) -> bool:
        drop = self.settings.budget.drop
        return drop is None or Outcome.read(found["measured"]).metric >= self.dense.metric - drop

    def _tuned(self, trial: FrozenTrial) -> dict[str, Any]:
        """A trial whose network is fine-tuned."""
        return self._judged(repr(sorted(trial.params.items())), trial.params, lambda: self._build(trial))

    def _build(self, trial: FrozenTrial) -> tuple[nn.Module, Masks]:
        return self.space.build(Candidate.of(trial.params))

    def _tuned_again(self, found: dict[str, Any], lost: float) -> dict[str, Any]:
        """``found`` with filterlets pruned that hold ``lost`` of its importance, fine-tuned again."""

        def build() -> tuple[nn.Module, Masks]:
            model = self.stages.read_tensors(f"tuned-{found['key']}")
            return model, self.space.prune_further(model, 1 - lost)

        return self._judged(f"{found['key']} {lost}", found["rates"], build)

    def _judged(
        self, name: str, rates: dict[str, float], build: Callable[[], tuple[nn.Module, Masks]]
    ) -> dict[str, Any]:
        """What ``build`` makes, fine-tuned: the loss on validation data, and the cost predicted of what is left."""
        key = hashlib.sha256(name.encode()).hexdigest()[:12]

        def tune() -> nn.Module:
            self.progress("fine-tuning")
            model, masks = build()
            torch.manual_seed(self.settings.seed)
            fine_tune(self.recipe, model, masks, 1.0)
            bake(model)
            return model

        def judge() -> dict[str, Any]:
            model = self.stages.tensors(f"tuned-{key}", tune)
            cost = self.space.predictor(model, self.recipe.example(), masks_of(model))
            return {"key": key, "rates": rates, "loss": self.recipe.validate(model), "predicted": asdict(cost)}

        return self.stages.json(f"judged-{key}", judge)

    def _measured(self, found: dict[str, Any]) -> dict[str, Any]:
        """What ``_tuned`` found, quantized, compiled and measured."""
        key = found["key"]

        def measure() -> dict[str, Any]:
            self.progress("quantizing, compiling and measuring")
            return self._measure(self.stages.read_tensors(f"tuned-{key}"), f"artifact-{key}").json()

        return {**found, "measured": self.stages.json(f"measured-{key}", measure)}

    def _measure(self, model: nn.Module, name: str) -> Outcome:
        calibration = [x for images, _ in self.recipe.batches() for x in images.split(1)]
        torch.manual_seed(self.settings.seed)
        program = quantize_int8(copy.deepcopy(model), calibration)
        folder = self.stages.fresh_folder(name)
        artifact = dtmm_mlir.compile(program, target=self.settings.target, out=folder)
        host = dtmm_mlir.compile(program)
        example = self.recipe.example().numpy()
        manifest = artifact.manifest
        instructions = artifact.execute(example[None]).instructions
        if instructions is None:
            raise DtmmError("the instructions were not counted: QEMU is missing or too old; see dtmm-mlir doctor.")
        cost = Cost(instructions, manifest["flash_bytes"], manifest["arena_bytes"])
        on_host, on_chip = (self.recipe.metric(_runner(each)) for each in (host, artifact))
        return Outcome(cost, self.recipe.metric(_torch_runner(model)), on_host, on_chip)

    def _report(self, found: dict[str, Any], trials: list[FrozenTrial]) -> dict[str, Any]:
        model = self.stages.tensors("pruned", lambda: self.stages.read_tensors(f"tuned-{found['key']}"))
        shutil.copytree(self.stages.folder / f"artifact-{found['key']}", self.stages.fresh_folder("artifact"))
        front = [{"loss": trial.values[0], **trial.user_attrs["cost"]} for trial in trials]
        chosen = {"loss": found["loss"], **found["predicted"]}
        draw_front(self.stages.folder / "front.svg", front, self.dense.cost.instructions, chosen)
        kept = {name: [int(mask.sum()), mask.size] for name, mask in masks_of(model).items()}
        return {
            "target": self.settings.target,
            "budget": asdict(self.settings.budget),
            "dense": self.dense.json(),
            "pruned": found["measured"],
            "predicted": found["predicted"],
            "rates": found["rates"],
            "kept_filterlets": kept,
            "front": front,
            "tools": tool_versions(),
        }

    def _missed(self, outcomes: list[Outcome]) -> DtmmError:
        best = max(outcomes, key=lambda outcome: (self.settings.budget.allows(outcome.cost), outcome.metric))
        return DtmmError(
            f"no network within the budget and {self.settings.budget.drop} points of {self.dense.metric:.2f} was "
            f"found; the nearest takes {best.cost.instructions:,} instructions, {best.cost.flash:,} bytes of flash and "
            f"{best.cost.ram:,} of RAM and reaches {best.metric:.2f}. Raise the budget, allow a larger drop, or more "
            "trials."
        )


def _spread(start: int, stop: int, most: int) -> list[int]:
    """Up to ``most`` of the numbers from ``start`` to ``stop``, the first and the last among them."""
    return np.linspace(start, stop - 1, min(most, stop - start)).round().astype(int).tolist()


def _measured_instructions(found: dict[str, Any]) -> int:
    return found["measured"]["instructions"]


def _lower(aim: Budget, budget: Budget, measured: Cost, predicted: Cost) -> Budget:
    """``aim`` made smaller by how much more was measured than predicted, where that broke the budget."""
    changes = {}
    for name, limit in budget.limits().items():
        if getattr(measured, name) > limit:
            factor = getattr(predicted, name) / getattr(measured, name)
            changes[name] = int(min(limit * factor, getattr(aim, name)) * 0.99)
    return replace(aim, **changes)


def _runner(artifact: Artifact) -> Callable[[np.ndarray], np.ndarray]:
    return lambda inputs: np.asarray(artifact.execute(inputs).outputs[0])


def _torch_runner(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    def run(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.eval()(torch.from_numpy(np.concatenate(list(inputs)))).numpy()

    return run


def _identity(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """What the results of a run depend on, as far as it can be told."""
    digest = hashlib.sha256()
    for name, tensor in sorted(recipe.model().state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return {"settings": asdict(settings), "network": digest.hexdigest(), "tools": tool_versions()}
