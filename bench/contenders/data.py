"""What a job says about the data: arrays of the sample and the references."""
import numpy as np


def references(job):
    return np.load(job["references"], mmap_mode="r")[:job["refs"]].copy()


def sample(job):
    """The sample, with a larger batch the last of the references, too, or rows of a file."""
    if "rows" in job:
        return np.load(job["rows"])[:job.get("first")]
    values = np.load(job["sample"])
    more = job.get("batch", 1) - len(values)
    return np.concatenate([values, np.load(job["references"], mmap_mode="r")[-more:]]) \
        if more > 0 else values
