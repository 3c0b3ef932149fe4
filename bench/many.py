"""Many samples: so many rows against the same references, a batch at a time, through a session in
Python and through `onnxexplainer run`, beside SHAP on PyTorch."""
import numpy as np

from contenders import Contender
from heats import Member
from models import Case, Files, command

# network, references, rows, rows at a time, rows for SHAP, whose time is scaled
SETS = [("mlp", 100, 10_000, 250, 200), ("transformer", 10, 16, 4, 2)]
SESSION = Contender("onnxexplainer, session in Python", "ort", "Explained", kernels=True)
SHAP = Contender("SHAP PyTorch", "shap_torch", "Shap", "torch")


def command_line(files, rows):
    """Seconds of `onnxexplainer run`, from its start until the results are written."""
    explained, _ = files.explained(())
    out = explained.with_suffix(".npz")
    return command("run", explained, "--input", rows, "-o", out, "-q",
                   f"--threads={files.threads}")


def measure(options):
    return [row for one in SETS for row in measure_set(options, *one)]


def measure_set(options, network, refs, count, at_a_time, peer_count):
    files = Files(options.folder, Case(network, refs), options.threads)
    rows = files.rows(count)
    members = [Member(SESSION, files, options.threads, rows=str(rows), at_a_time=at_a_time),
               Member(SHAP, files, options.threads, rows=str(rows), first=peer_count)]
    by_command = []
    for _ in range(3):
        by_command.append(command_line(files, rows))
        for member in members:
            member.run()
    values = [member.process.result()[0]["phi"][:peer_count] for member in members]
    distance = np.linalg.norm(values[0] - values[1]) / np.linalg.norm(values[1])
    ours, peer = min(members[0].seconds), min(members[1].seconds) * count / peer_count
    for member in members:
        member.process.close()
    files.close()

    def row(name, seconds, note):
        return {"network": network, "refs": refs, "rows": count, "name": name,
                "seconds": seconds, "times": peer / seconds, "note": note}
    return [row(SESSION.name, ours, f"{at_a_time} rows at a time; relative L2 distance from "
                                    f"SHAP's values {distance:.0e}"),
            row("onnxexplainer run", min(by_command), "with start, load and writing the results"),
            row(SHAP.name, peer, f"measured on {peer_count} rows")]
