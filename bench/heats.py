"""Measuring one case. Contenders take turns, round by round, so that they meet the same noise.
Those that do not fit into memory together run in heats, one after the other; ideal takes part in
every heat, and multiples are of the ideal of the same heat."""
import statistics
from pathlib import Path

import numpy as np

from contenders import BASE, IDEAL
from models import PYTHON
from process import Failed, Process

SAME_PREDICTION = 1e-4  # relative: a contender with other predictions explains something else


def available():
    """MiB that new processes can take."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1024


class Forecast:
    """Seconds and MiB of a contender at more references, from fewer: by the straight line through
    the last two, or in proportion to the references."""

    def __init__(self):
        self.known = {}

    def learn(self, row):
        if "seconds" in row:
            self.known.setdefault((row["network"], row["name"]), []).append(
                (row["refs"], min(row["seconds"]), row["peak"], row["imported"]))

    def __call__(self, case, name):
        known = self.known.get((case.network, name))
        if not known:
            return None
        refs, seconds, peak, imported = known[-1]
        before = known[-2][:3] if len(known) > 1 else (0, 0, imported)
        factor = (case.refs - refs) / (refs - before[0])
        return seconds + (seconds - before[1]) * factor, peak + (peak - before[2]) * factor


class Member:
    """A contender in a heat."""

    def __init__(self, contender, files, threads, **more):
        self.contender, self.seconds, self.ideal = contender, [], []
        job = files.job(contender) | more
        self.facts = {key: job[key] for key in ("file", "cache", "made") if key in job}
        self.process = Process(PYTHON[contender.python], job, contender.env, threads)
        try:
            self.facts |= self.process.ask("load")
        except Failed:
            self.process.close()
            raise

    def run(self):
        answer = self.process.ask("run")
        self.seconds.append(answer["seconds"])
        self.facts["peak"] = answer["peak"]

    def wants_more(self, settings):
        """Two rounds at least, then as long as there is time left."""
        spent = sum(self.seconds) + min(self.seconds, default=0)
        return len(self.seconds) < 2 or spent < settings.seconds


class Heat:
    def __init__(self, files, settings):
        self.files, self.settings, self.failed = files, settings, []
        self.ideal = Member(IDEAL, files, settings.threads)
        self.members = []

    def start(self, contender):
        try:
            self.members.append(Member(contender, self.files, self.settings.threads))
        except Failed as error:
            self.fail(contender, str(error))

    def fail(self, contender, message):
        self.failed.append((contender, message))

    def run(self):
        for _ in range(self.settings.rounds):
            going = [m for m in self.members if m.wants_more(self.settings)]
            if not going and self.ideal.seconds:
                break
            self.ideal.run()
            for member in going:
                try:
                    member.run()
                    member.ideal.append(self.ideal.seconds[-1])
                except Failed as error:
                    self.fail(member.contender, str(error))
                    self.members.remove(member)

    def rows(self):
        """Facts of every contender, and its SHAP values by name."""
        plain, _ = self.ideal.process.result()
        rows, values = [self.row(self.ideal)], {}
        for member in self.members:
            row, (result, notes) = self.row(member), member.process.result()
            row |= notes | accuracy(plain, result)
            if row["prediction"] > SAME_PREDICTION:
                row["error"] = f"predictions differ by {row['prediction']:.1e}"
            values[row["name"]] = np.asarray(result["phi"], np.float64)
            rows.append(row)
        return rows, values

    def row(self, member):
        ideal = member.ideal or member.seconds
        return self.label(member.contender) | member.facts | {
            "seconds": member.seconds, "x_ideal": min(member.seconds) / min(self.ideal.seconds),
            "x_ideal_median": statistics.median(member.seconds) / statistics.median(ideal)}

    def label(self, contender):
        case = self.files.case
        return {"network": case.network, "refs": case.refs, "batch": case.batch, "size": case.size,
                "name": contender.name}

    def close(self):
        for member in [self.ideal, *self.members]:
            member.process.close()


def accuracy(plain, result):
    """How well values add up, the worst sample: |sum(phi) - dy| / max(|dy|, 1e-3 sum|phi|) with
    dy = f(x) - mean f(r) of the plain model. And how far the predictions are from its."""
    f, f0 = (np.asarray(plain[key], np.float64) for key in ("prediction", "at_references"))
    target = np.reshape(result["target"], (len(f), 1)).astype(int)
    dy = np.take_along_axis(f - f0.mean(0), target, 1)[:, 0]
    phi = np.asarray(result["phi"], np.float64).reshape(len(f), -1)
    gap = abs(phi.sum(1) - dy) / np.maximum(abs(dy), 1e-3 * abs(phi).sum(1))
    return {"completeness": float(gap.max()),
            "prediction": float(abs(result["prediction"] - f).max() / abs(f).max())}


def measure(files, contenders, forecast, settings, tell):
    """Rows of all contenders for one case."""
    rows, values = [], {}
    waiting = list(contenders)
    while waiting:
        heat = Heat(files, settings)
        room = min(settings.memory, 0.9 * available())
        while waiting:
            expected = forecast(files.case, waiting[0].name) or (0, settings.guess)
            if excuse := too_much(expected, settings):
                heat.fail(waiting.pop(0), excuse)
                continue
            taken = sum(member.facts["peak"] for member in heat.members)
            if heat.members and taken + expected[1] > room:
                break
            tell(waiting[0].name)
            heat.start(waiting.pop(0))
        tell("rounds")
        heat.run()
        found, own = heat.rows()
        rows += found[1 if rows else 0:]
        rows += [heat.label(contender) | {"error": message} for contender, message in heat.failed]
        values |= own
        heat.close()
    compare_values(rows, values)
    order = [IDEAL.name, *(contender.name for contender in contenders)]
    rows.sort(key=lambda row: order.index(row["name"]))
    for row in rows:
        forecast.learn(row)
    return rows


def too_much(expected, settings):
    seconds, memory = expected
    if memory > settings.memory:
        return f"left out: would need about {memory / 1024:.0f} GiB"
    if seconds > settings.longest:
        return f"left out: would take about {seconds:.0f} s"
    return None


def compare_values(rows, values):
    """The relative L2 distance of SHAP values from ours."""
    ours = values.get(BASE)
    for row in rows:
        if ours is not None and row["name"] in values:
            distance = np.linalg.norm(values[row["name"]].ravel() - ours.ravel())
            row["distance"] = float(distance / np.linalg.norm(ours))
