"""A long run: whether memory, open files and speed stay what they are.

python -m tests.robustness.soak --minutes 60 -- --config configs/mc_awr_onpolicy.yaml --model.advantage.num_samples 4
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import linregress

from rlft.comparison.logs import read_log
from tests.support.descendants import descendants

SETTLED = 0.2  # share of the time after which everything has been allocated once


def measure(pid):
    """MiB of memory (shared pages by the share of each process), open files and processes of a run."""
    memory = files = processes = 0
    for one in [pid, *descendants(pid)]:
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            files += len(os.listdir(f"/proc/{one}/fd"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        memory += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]) / 1024
        processes += 1
    return memory, files, processes


def slope(hours, values, unit):
    """The change per hour in words, with its 95% interval, and the level that it starts from."""
    line = linregress(hours, values)
    return f"{line.intercept:,.1f} {unit}, {line.slope:+.2f} +- {1.96 * line.stderr:.2f} {unit} per hour"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seconds", type=float, default=10, help="between two measurements")
    parser.add_argument("arguments", nargs="+", help="of rlft fit, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as log_dir:
        command = [sys.executable, "-m", "rlft", "fit", *options.arguments, f"--log_dir={log_dir}", "--run_name=soak"]
        run = subprocess.Popen([*command, "--trainer.max_epochs=100000"])
        started, found = time.monotonic(), []
        while (elapsed := time.monotonic() - started) < 60 * options.minutes and run.poll() is None:
            found.append((elapsed / 3600, *measure(run.pid)))
            time.sleep(options.seconds)
        run.terminate()
        run.wait()
        curves = read_log(Path(log_dir), "soak").scalars
    hours, memory, files, processes = np.array(found)[int(SETTLED * len(found)) :].T
    print(f"{options.minutes:g} minutes, {len(curves['time/iteration'])} iterations, {processes.max():.0f} processes")
    print(f"memory: {slope(hours, memory, 'MiB')}; {memory.min():,.0f} to {memory.max():,.0f}")
    print(f"open files: {slope(hours, files, 'files')}; {files.min():.0f} to {files.max():.0f}")
    seconds = np.array(list(curves["time/iteration"].values()))
    seconds = seconds[int(SETTLED * len(seconds)) :]
    ends = np.cumsum(seconds) / 3600
    print(f"an iteration: {slope(ends, seconds, 's')}; {seconds.min():.2f} to {seconds.max():.2f}")


if __name__ == "__main__":
    main()
