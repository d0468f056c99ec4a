"""Seconds and memory of the paired bootstrap on a board of the size of DomainNet.

    python -m perf.bootstrap                 # 12 methods x 5 seeds x 125,000 images in 5 domains x 2,000 draws

Outcomes are drawn at random; the time does not depend on their values.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from orchestrator.analysis.statistics import PairedBootstrap, rank


def main() -> None:
    """Print what drawing and comparing all pairs take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=125_000, help="over all domains")
    parser.add_argument("--domains", type=int, default=5)
    parser.add_argument("--draws", type=int, default=2000)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (given.methods, given.seeds, given.images // given.domains)
    outcomes = {str(domain): rng.random(shape, dtype=np.float32) < 0.6 for domain in range(given.domains)}
    started = time.perf_counter()
    bootstrap = PairedBootstrap(outcomes, given.draws)
    drawn = time.perf_counter()
    rank(bootstrap, list(outcomes))
    ranked = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"draws {drawn - started:.1f} s, all pairs {ranked - drawn:.2f} s, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
