"""ICU-Sepsis, the first care setting: a simulator, logged care made with it, and exact values to hold learners against.

Choudhary, Gupta, Thomas: ICU-Sepsis, a benchmark MDP built from real medical data (RLC 2024, arXiv:2406.05646), version
2.0.1, MIT licence; built from MIMIC-III by the method of Komorowski et al. (Nature Medicine 24:1716, 2018). 713 states of a
patient, 25 actions (five levels of fluids times five of vasopressors), a step of four hours; survival ends an episode with 1,
death with 0.
The probabilities of transitions are for simulating and for scoring. Nothing that learns sees them.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars

from puji.files import whole
from puji.public import DataSet

STATES, ACTIONS = 713, 25
DEATH, SURVIVAL = 713, 714
EPISODES = 10_000
"""Logged clinician episodes that ``puji data get icu-sepsis`` writes."""
_INSIDE = "icu_sepsis/envs/assets/dynamics.npz"


def _members(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    return {"dynamics.npz": wheel.read(_INSIDE)}


ICU_SEPSIS = DataSet(
    name="icu-sepsis",
    requirement="icu-sepsis==2.0.1",  # MIT licence
    wheel="7f55ff190f11b252593000814b6cd56ecf9b5de6fdca256e4966c0a0dc369466",
    files={"dynamics.npz": "36498f924c693c6be7ae18f3ce9e1a8e48d41f80f2cc553b3993b1373c8a9109"},
    make=_members,
)


@dataclass(frozen=True)
class Logs:
    """Logged steps, in the order of subjects and steps: subject, state, action and following state, each (n,) int."""

    subject: np.ndarray
    state: np.ndarray
    action: np.ndarray
    after: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where episodes begin, (n,) bool."""
        found: np.ndarray = np.diff(self.subject, prepend=-1) != 0
        return found

    @property
    def survived(self) -> np.ndarray:
        """Whether the episode of each step ended with survival, (n,) bool."""
        ends = self.subject[self.after == SURVIVAL]
        found: np.ndarray = np.isin(self.subject, ends)
        return found


@dataclass(frozen=True)
class Environment:
    """``transitions``: probability of the following state, (713, 25, 716). ``start``: of the first one, (713,).
    ``clinician``: of each action in logged care, (713, 25). ``description``: what is published about each state, (713, 48):
    47 standardised measurements, and the mean SOFA score."""

    transitions: np.ndarray
    start: np.ndarray
    clinician: np.ndarray
    description: np.ndarray

    def values(self, policy: np.ndarray) -> np.ndarray:
        """The exact probability of survival from each state, (713,), under ``policy`` (713, 25), by one linear solve."""
        step = np.zeros((STATES, self.transitions.shape[2]))
        for action in range(ACTIONS):
            step += policy[:, action, None] * self.transitions[:, action]
        return np.linalg.solve(np.eye(STATES) - step[:, :STATES], step[:, SURVIVAL])

    def survival(self, policy: np.ndarray) -> float:
        """The exact probability of survival under ``policy`` (713, 25)."""
        return float(self.start @ self.values(policy))

    def optimal(self) -> np.ndarray:
        """A policy of the highest survival, (713, 25), by policy iteration."""
        policy, best = self.clinician, -1.0
        while (now := self.survival(policy)) > best + 1e-12:
            best = now
            policy = greedy(self.transitions @ np.append(self.values(policy), [0.0, 1.0, 0.0]))
        return policy

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The following states of all pairs in one row, and a key that rises by 1 from pair to pair."""
        flat = self.transitions.reshape(STATES * ACTIONS, -1)
        pair, after = np.nonzero(flat)
        total = np.cumsum(flat[pair, after])
        before = np.concatenate([[0.0], total])[np.searchsorted(pair, np.arange(STATES * ACTIONS))]
        share = (total - before[pair]) / np.bincount(pair, flat[pair, after], STATES * ACTIONS)[pair]
        last = np.diff(pair, append=-1) != 0
        return after, pair + np.where(last, 1.0, np.minimum(share, 1.0))

    def simulate(self, episodes: int, seed: int, policy: np.ndarray | None = None) -> Logs:
        """Logged care: ``episodes`` under ``policy`` (713, 25), by default the clinician's."""
        rng = np.random.default_rng(seed)
        after, key = self._rows
        acting = np.cumsum(self.clinician if policy is None else policy, axis=1)
        state = np.searchsorted(np.cumsum(self.start / self.start.sum()), rng.random(episodes), side="right")
        state = np.minimum(state, STATES - 1)
        who = np.arange(episodes)
        rows = []
        while len(who):
            action = (acting[state] <= rng.random(len(who))[:, None] * acting[state][:, -1:]).sum(1)
            pair = state * ACTIONS + action
            following = after[np.searchsorted(key, pair + rng.random(len(who)), side="right")]
            rows.append((who, state, action, following))
            going = following < STATES
            who, state = who[going], following[going]
        subject, state, action, following = (np.concatenate(column) for column in zip(*rows, strict=True))
        order = np.argsort(subject, kind="stable")
        return Logs(subject[order], state[order], action[order], following[order])


def environment(folder: Path | None = None) -> Environment:
    """The simulator. Raises Invalid if the data were not fetched (``puji data get icu-sepsis``); never connects."""
    with np.load(io.BytesIO(ICU_SEPSIS.file("dynamics.npz", folder).read_bytes()), allow_pickle=False) as arrays:
        described = np.column_stack([arrays["state_cluster_centers"], arrays["sofa_scores"]])
        return Environment(
            arrays["tx_mat"][:STATES], arrays["d_0"][:STATES], arrays["expert_policy"][:STATES], described[:STATES]
        )


def greedy(scores: np.ndarray) -> np.ndarray:
    """The policy that takes the action of the highest score in each state, (n, actions)."""
    found: np.ndarray = np.eye(scores.shape[1])[scores.argmax(1)]
    return found


def table(logs: Logs) -> polars.DataFrame:
    """Logged steps as a hospital would have them: subject, step, state, action, and the outcome in the last row."""
    first = np.maximum.accumulate(np.where(logs.starts, np.arange(len(logs.subject)), 0))
    outcome = np.where(logs.after == SURVIVAL, "survived", np.where(logs.after == DEATH, "died", ""))
    return polars.DataFrame(
        {
            "subject": logs.subject,
            "step": np.arange(len(logs.subject)) - first,
            "state": logs.state,
            "action": logs.action,
            "outcome": outcome,
        }
    )


def description(found: Environment) -> polars.DataFrame:
    """What is published about each state, as the file that `Setting` learns codes from."""
    columns = {f"d{number:02d}": found.description[:, number] for number in range(found.description.shape[1])}
    return polars.DataFrame({"state": np.arange(STATES), **columns})


def get_icu_sepsis(folder: Path | None = None) -> Path:
    """Fetch the simulator, and write clinician episodes made with it and the description of the states beside it.

    Gives the path of the episodes; see `DataSet.fetched` for errors.
    """
    folder = ICU_SEPSIS.fetched(folder)
    episodes, states = folder / "episodes.parquet", folder / "states.csv"
    if not (episodes.is_file() and states.is_file()):
        found = environment(folder)
        with whole(states) as temporary:
            description(found).write_csv(temporary)
        with whole(episodes) as temporary:
            table(found.simulate(EPISODES, seed=0)).write_parquet(temporary)
    return episodes
