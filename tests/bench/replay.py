#!/usr/bin/env python3
"""Replays commits of a repository with checks of its own that declare nothing, and compares every replayed result with
a run without the cache.

    replay.py REPOSITORY --config FILE [--commits 40] [--end HEAD] [--binary target/release/cargo-dagcache]

FILE is a `dagcache.toml`, laid into each commit. Prints for each check how often it was replayed (a key of the whole tree
would be another at nearly every commit), the results that differ, and both times. REPOSITORY is not changed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("--config", required=True)
    parser.add_argument("--commits", type=int, default=40)
    parser.add_argument("--end", default="HEAD", help="the newest commit")
    parser.add_argument("--binary", default="target/release/cargo-dagcache")
    return parser.parse_args()


def git(cwd, *args):
    return subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True).stdout


def run(binary, cwd, env, args):
    """Seconds, and the finished checks by id."""
    begun = time.monotonic()
    argv = [binary, "dagcache", "lint", *args, "--message-format", "json"]
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    checks = {event["id"]: event for event in events if event["reason"] == "check-finished"}
    return time.monotonic() - begun, checks


def outcome(check):
    """What must be equal: the verdict and what was printed, without times and addresses."""
    text = re.sub(r"[0-9.]+ ?m?s\b|0x[0-9a-f]+", "", check.get("stdout") or "")
    return check["verdict"], text


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place, "tree")
        git(place, "clone", "--quiet", os.path.abspath(options.repository), str(tree))
        log = git(tree, "log", "--first-parent", "--format=%H", "-n", str(options.commits), options.end)
        ids = list(tomllib.loads(Path(options.config).read_text())["checks"])
        only = [word for name in ids for word in ("--only", name)]
        env = {**os.environ, "DAGCACHE_DIR": str(Path(place, "cache"))}
        binary = os.path.abspath(options.binary)
        replayed, ran, differ = dict.fromkeys(ids, 0), 0, []
        cached_s = plain_s = 0.0
        for number, commit in enumerate(reversed(log.split())):
            git(tree, "checkout", "--quiet", "--force", commit)
            git(tree, "clean", "-qfdx")
            shutil.copy(options.config, tree / "dagcache.toml")
            seconds, checks = run(binary, tree, env, only)
            cached_s += seconds
            seconds, right = run(binary, tree, env, [*only, "--no-cache"])
            plain_s += seconds
            for name in ids:
                hit = checks[name]["cache"] in ("hit", "joined")
                if number:
                    ran += 1
                    replayed[name] += hit
                if hit and outcome(checks[name]) != outcome(right[name]):
                    differ.append(f"{commit[:10]} {name}")
        for name, count in replayed.items():
            print(f"{name:<20} {count} of {ran // len(ids)} replayed")
        print(f"{sum(replayed.values())} of {ran} replayed, {len(differ)} differ {differ}")
        print(f"{cached_s:.1f} s, without the cache {plain_s:.1f} s")


if __name__ == "__main__":
    main()
