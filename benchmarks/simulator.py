"""Simulated patients whose hazards are known: the truth that predictions and cohorts are held against.

Each of the diseases, and death, has a Gompertz hazard (Gompertz 1825: a rate that doubles every so many years), times a ratio
for men, for smoking, and for each disease had before. The hazard is constant within a quarter of a year, and whatever happens
changes it at once. A person is followed from 18 to death or to an age that is drawn independently of all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Sex, Timeline

START, OLDEST = 18.0, 100.0
STEP = 0.25
"""Years within which hazards are constant."""
FOLLOWED = (50.0, 90.0)
"""Ages between which follow-up ends, if death does not come before: uniform."""
SMOKING = {"never": 0.5, "former": 0.25, "current": 0.25}
"""Share of people; told as an event at the age of 18."""
DISEASES: dict[str, tuple[float, float, float, float]] = {
    "E11": (0.0060, 16.0, 1.3, 1.2),
    "E66": (0.0100, 60.0, 0.9, 1.0),
    "E78": (0.0120, 18.0, 1.1, 1.1),
    "I10": (0.0140, 14.0, 1.1, 1.2),
    "I21": (0.0022, 11.0, 2.2, 1.9),
    "I25": (0.0030, 11.0, 1.9, 1.8),
    "I48": (0.0022, 9.0, 1.4, 1.1),
    "I50": (0.0016, 8.0, 1.3, 1.3),
    "I63": (0.0018, 9.0, 1.3, 1.6),
    "I73": (0.0014, 11.0, 1.6, 2.6),
    "J44": (0.0024, 12.0, 1.2, 4.0),
    "J45": (0.0040, 200.0, 0.8, 1.1),
    "J18": (0.0040, 12.0, 1.2, 1.5),
    "C34": (0.0008, 10.0, 1.3, 5.0),
    "C50": (0.0020, 25.0, 0.02, 1.1),
    "C61": (0.0015, 9.0, 60.0, 1.0),
    "C18": (0.0009, 11.0, 1.3, 1.2),
    "N18": (0.0020, 10.0, 1.1, 1.2),
    "K70": (0.0010, 40.0, 2.2, 1.5),
    "K74": (0.0006, 25.0, 1.6, 1.2),
    "K21": (0.0080, 40.0, 1.0, 1.2),
    "F32": (0.0090, 200.0, 0.6, 1.4),
    "F10": (0.0020, 200.0, 2.6, 1.8),
    "F03": (0.0006, 5.5, 0.9, 1.2),
    "G20": (0.0004, 7.0, 1.5, 0.7),
    "M17": (0.0060, 14.0, 0.7, 0.9),
    "M81": (0.0030, 10.0, 0.2, 1.4),
    "S72": (0.0005, 6.5, 0.6, 1.2),
    "H25": (0.0040, 8.0, 0.9, 1.2),
    "H36": (0.0003, 30.0, 1.0, 1.1),
}
"""ICD-10 category -> rate a year at 50, years in which it doubles, ratio for men, ratio for current smokers."""
DYING = (0.0005, 8.5, 1.5, 1.9)
LATER: dict[tuple[str, str], float] = {
    ("E66", "E11"): 5.0,
    ("E66", "I10"): 2.5,
    ("E66", "M17"): 3.0,
    ("E66", "K21"): 2.0,
    ("E11", "N18"): 4.0,
    ("E11", "H36"): 40.0,
    ("E11", "I25"): 2.5,
    ("E11", "I63"): 2.0,
    ("E11", "I73"): 3.5,
    ("E11", "E78"): 3.0,
    ("E78", "I25"): 2.5,
    ("E78", "I21"): 2.5,
    ("I10", "I63"): 3.0,
    ("I10", "I50"): 2.5,
    ("I10", "N18"): 3.0,
    ("I10", "I48"): 2.0,
    ("I10", "I21"): 2.0,
    ("I25", "I21"): 4.0,
    ("I25", "I50"): 3.5,
    ("I21", "I50"): 6.0,
    ("I48", "I63"): 5.0,
    ("I48", "I50"): 4.0,
    ("I63", "F03"): 3.0,
    ("J45", "J44"): 4.0,
    ("J44", "J18"): 5.0,
    ("J44", "C34"): 3.0,
    ("F10", "K70"): 20.0,
    ("K70", "K74"): 25.0,
    ("F10", "F32"): 3.0,
    ("F32", "F10"): 2.5,
    ("M81", "S72"): 6.0,
    ("G20", "F03"): 5.0,
    ("F03", "J18"): 3.0,
    ("F03", "S72"): 3.0,
}
"""Ratio of a disease's hazard (second) once another one (first) was had."""
DEADLY = {"C34": 25.0, "C18": 6.0, "C50": 3.0, "C61": 2.0, "I50": 5.0, "N18": 2.5, "K74": 8.0, "F03": 4.0, "I21": 2.5}
DEADLY |= {"I63": 2.5, "J44": 2.5, "S72": 2.5, "J18": 2.0, "E11": 1.6}
NAMES = (*DISEASES, DEATH)
"""Columns of all arrays here."""
DEAD = len(NAMES) - 1


@cache
def ratios() -> np.ndarray:
    """Natural log of the hazard ratios, (31, 31): row had, column to come."""
    found = np.zeros((len(NAMES), len(NAMES)))
    for (before, after), ratio in LATER.items():
        found[NAMES.index(before), NAMES.index(after)] = np.log(ratio)
    for before, ratio in DEADLY.items():
        found[NAMES.index(before), DEAD] = np.log(ratio)
    return found


@dataclass
class People:
    """What the hazards depend on: whether male (n,), smoking 0, 1 or 2 for never, former, current (n,), had (n, 31) bool."""

    male: np.ndarray
    smoking: np.ndarray
    had: np.ndarray

    def take(self, rows: np.ndarray) -> People:
        """Those of ``rows``."""
        return People(self.male[rows], self.smoking[rows], self.had[rows])


def hazards(people: People, age: np.ndarray) -> np.ndarray:
    """Events a year, (n, 31), at ``age`` in years (n,); 0 for what was had, and for the dead."""
    rate, doubling, male, smoke = np.array([*DISEASES.values(), DYING]).T
    quarter = np.floor(age / STEP) * STEP + STEP / 2
    log = np.log(rate) + np.log(2) * (quarter[:, None] - 50) / doubling
    # Who has given up smoking carries the root of the ratio.
    log += people.male[:, None] * np.log(male) + (people.smoking / 2)[:, None] * np.log(smoke)
    log += people.had.astype(float) @ ratios()
    return np.where(people.had | people.had[:, [DEAD]], 0.0, np.exp(log))


def run(people: People, age: np.ndarray, until: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ages in years at which things happen between ``age`` and ``until`` (n,), (n, 31), inf where they do not; and the hazards
    that were met until then, summed over time, (n, 31).

    The mean of such a sum is the probability that the thing happens (it is the compensator of its counting process), and varies
    far less from future to future than whether it happens.

    An exponential waiting time for the sum of the hazards, drawn again at the end of each quarter of a year: exact.
    """
    result = np.full((len(age), len(NAMES)), np.inf)
    met = np.zeros((len(age), len(NAMES)))
    state = People(people.male.copy(), people.smoking.copy(), people.had.copy())
    now = age.astype(float).copy()
    active = np.flatnonzero((now < until) & ~state.had[:, DEAD])
    while len(active):
        rates = hazards(state.take(active), now[active])
        total = rates.sum(1)
        end = np.minimum(np.floor(now[active] / STEP) * STEP + STEP, until[active])
        when = now[active] + rng.exponential(size=len(active)) / total
        happens = when < end
        met[active] += rates * (np.where(happens, when, end) - now[active])[:, None]
        rows = active[happens]
        chosen = (rates[happens].cumsum(1) < (rng.random(len(rows)) * total[happens])[:, None]).sum(1)
        state.had[rows, chosen] = True
        result[rows, chosen] = when[happens]
        now[active] = np.where(happens, when, end)
        active = active[(now[active] < until[active]) & ~state.had[active, DEAD]]
    return result, met


def simulate(n: int, seed: int = 0, followed: tuple[float, float] = FOLLOWED) -> list[Timeline]:
    """``n`` patients, followed to death or to an age drawn from ``followed``."""
    rng = np.random.default_rng(seed)
    male = rng.random(n) < 0.5
    smoking = rng.choice(3, size=n, p=list(SMOKING.values()))
    until = rng.uniform(*followed, size=n)
    found, _ = run(People(male, smoking, np.zeros((n, len(NAMES)), bool)), np.full(n, START), until, rng)
    return [_told(str(row), male[row], smoking[row], found[row], until[row]) for row in range(n)]


def _told(subject: str, male: bool, smoking: int, ages: np.ndarray, until: float) -> Timeline:
    events = [Event(START * YEAR, f"LIFESTYLE/smoking-{list(SMOKING)[smoking]}")]
    for place in np.argsort(ages):
        if np.isfinite(ages[place]):
            code = DEATH if place == DEAD else f"ICD10/{NAMES[place]}"
            events.append(Event(round(float(ages[place]) * YEAR, 3), code))
    sex: Sex = "male" if male else "female"
    end = events[-1].age if events[-1].code == DEATH else float(until) * YEAR
    return Timeline(sex, None, tuple(events), end, subject)


def people(records: Sequence[Timeline], age: float) -> People:
    """What is known of ``records`` at ``age`` in years."""
    levels = [f"LIFESTYLE/smoking-{level}" for level in SMOKING]
    had = np.zeros((len(records), len(NAMES)), bool)
    smoking = np.zeros(len(records), int)
    for row, record in enumerate(records):
        for event in record.events:
            if event.code in levels:
                smoking[row] = levels.index(event.code)
            elif event.age <= age * YEAR:
                had[row, NAMES.index(event.code.removeprefix("ICD10/"))] = True
    return People(np.array([record.sex == "male" for record in records]), smoking, had)


def risks(records: Sequence[Timeline], age: float, horizon: float, draws: int, seed: int = 0) -> np.ndarray:
    """The true probability that each thing comes within ``horizon`` years from ``age`` on, (n, 31), by ``draws`` futures each."""
    known = people(records, age)
    rng = np.random.default_rng(seed)
    hits = np.zeros(known.had.shape)
    for _ in range(draws):
        start, stop = (np.full(len(records), value) for value in (age, age + horizon))
        hits += run(known, start, stop, rng)[1]
    return hits / draws


def landmark(records: Sequence[Timeline], age: float, horizon: float) -> tuple[list[Timeline], np.ndarray]:
    """Patients alive and observed at ``age`` and followed for ``horizon`` years or to death, and what came, (n, 31).

    nan for what they had before.
    """
    kept = [one for one in records if one.end > age * YEAR and (one.died or one.end >= (age + horizon) * YEAR)]
    came = np.zeros((len(kept), len(NAMES)))
    for row, record in enumerate(kept):
        for event in record.events:
            name = event.code.removeprefix("ICD10/")
            if name in NAMES and event.age <= (age + horizon) * YEAR:
                came[row, NAMES.index(name)] = np.nan if event.age <= age * YEAR else 1.0
    return kept, came


def hazard_ratio(records: Sequence[Timeline], before: str, after: str) -> float:
    """The ratio of ``after``'s rate once ``before`` was had to that of those who had not, adjusted for sex and age.

    Mantel-Haenszel over sex and bands of five years of age: Rothman & Greenland, Modern Epidemiology, chapter 15.
    """
    cells = np.zeros((2, 40, 2, 2))  # sex, band, exposed, (events, years)
    for record in records:
        ages = {event.code.removeprefix("ICD10/"): event.age / YEAR for event in record.events}
        onset, exposed = ages.get(after, np.inf), ages.get(before, np.inf)
        stop = min(onset, record.end / YEAR)
        sex = int(record.sex == "male")
        for band in range(int(START) // 5, min(int(stop) // 5 + 1, 40)):
            low, high = max(START, 5.0 * band), min(stop, 5.0 * band + 5)
            if high <= low:
                continue
            cut = min(max(exposed, low), high)
            cells[sex, band, 0, 1] += cut - low
            cells[sex, band, 1, 1] += high - cut
            if low <= onset < high or onset == high == stop:
                cells[sex, band, int(exposed < onset), 0] += 1
    events, years = cells[..., 0], cells[..., 1]
    total = years.sum(2)
    kept = total > 0
    top = (events[..., 1] * years[..., 0])[kept] / total[kept]
    bottom = (events[..., 0] * years[..., 1])[kept] / total[kept]
    return float(top.sum() / bottom.sum()) if bottom.sum() > 0 else float("nan")
