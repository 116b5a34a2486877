#!/usr/bin/env python3
"""Runs clang-tidy on what ships (the sources of src/ that are not tests or fuzzers) and remembers what was clean.

    clang_tidy.py build/asan/compile_commands.json [-j N] [FILE...]

A file is looked at again only when something it depends on has changed: itself, a header of ours that it includes, its compile
command, .clang-tidy, or clang-tidy. That is remembered by content, outside the build folder, so that a fresh clone profits.

Most of the time goes into the standard library, so several files of a folder are given to it as one. Where they do not fit
together (two of them have a local name in common), or something is found, each half is looked at by itself.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "godwit-clang-tidy"
CLANG_TIDY = "clang-tidy-19"
CLANG = "clang++-19"
KEPT_DAYS = 60
BATCH = 8


def digest(*parts):
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def plain_arguments(entry):
    """The compile command without the program, its launcher, input, output, precompiled header and sanitizers."""
    words = shlex.split(entry["command"]) if "command" in entry else list(entry["arguments"])
    while words and not re.search(r"(clang\+\+|g\+\+|c\+\+)[-.0-9]*$", words[0]):
        words.pop(0)
    kept, skip = [], 0
    for at, word in enumerate(words[1:], start=1):
        if skip:
            skip -= 1
        elif word in ("-o", "-MF", "-MT"):
            skip = 1
        elif word == "-include-pch":
            skip = 1
        elif word == "-Xclang" and at + 1 < len(words) and words[at + 1] == "-fno-pch-timestamp":
            skip = 1
        elif word in ("-c", "-Winvalid-pch", "-fpch-instantiate-templates", "-MD") or word.startswith("-fsanitize"):
            pass
        elif word == entry["file"] or word.startswith("-fno-sanitize"):
            pass
        else:
            kept.append(word)
    return kept


class Checker:
    def __init__(self):
        version = subprocess.run([CLANG_TIDY, "--version"], capture_output=True, text=True, check=True).stdout
        self.base = digest(version, (ROOT / ".clang-tidy").read_bytes())
        for folder in ("clean", "includes"):
            (CACHE / folder).mkdir(parents=True, exist_ok=True)

    def key(self, source, arguments, includes):
        parts = [self.base, source, *(word.replace(str(ROOT), "") for word in arguments)]
        for include in includes:
            path = ROOT / include
            parts += [include, path.read_bytes() if path.is_file() else b"missing"]
        return digest(*parts)

    def includes_of(self, source, arguments, directory):
        """The files of ours that the source is made of, itself among them, relative to the root."""
        run = subprocess.run([CLANG, *arguments, "-MM", str(ROOT / source)], cwd=directory, capture_output=True, text=True)
        if run.returncode != 0:
            return None
        words = shlex.split(run.stdout.replace("\\\n", " "))[1:]
        paths = {os.path.realpath(os.path.join(directory, word)) for word in words}
        return sorted(os.path.relpath(path, ROOT) for path in paths if path.startswith(str(ROOT) + "/"))

    def is_known(self, entry):
        source, arguments = os.path.relpath(entry["file"], ROOT), plain_arguments(entry)
        remembered = CACHE / "includes" / digest(source)
        includes = remembered.read_text().split("\n") if remembered.is_file() else None
        clean = CACHE / "clean" / self.key(source, arguments, includes) if includes else None
        if clean is None or not clean.is_file():
            return False
        os.utime(clean)
        return True

    def remember(self, entry):
        source, arguments = os.path.relpath(entry["file"], ROOT), plain_arguments(entry)
        if includes := self.includes_of(source, arguments, entry["directory"]):
            (CACHE / "includes" / digest(source)).write_text("\n".join(includes))
            (CACHE / "clean" / self.key(source, arguments, includes)).touch()

    def findings(self, batch):
        """What clang-tidy says of these sources as one; None when they are clean."""
        arguments, directory = plain_arguments(batch[0]), batch[0]["directory"]
        with tempfile.TemporaryDirectory() as folder:
            source, checks = batch[0]["file"], []
            if len(batch) > 1:
                source, checks = f"{folder}/batch.cc", ["--checks=-bugprone-suspicious-include"]
                pathlib.Path(source).write_text("".join(f'#include "{entry["file"]}"\n' for entry in batch))
            command = [CLANG_TIDY, "--quiet", "--use-color=false", f"--config-file={ROOT}/.clang-tidy", *checks, source, "--", *arguments]
            run = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if run.returncode != 0 or "warning:" in run.stdout or "error:" in run.stdout:
            return (run.stdout + run.stderr).replace(str(ROOT) + "/", "")
        return None

    def check(self, batch):
        """[(source, what was found in it)], and the seconds it took."""
        started = time.monotonic()
        found = self.findings(batch)
        if found is None:
            for entry in batch:
                self.remember(entry)
            return [], time.monotonic() - started
        if len(batch) == 1:
            return [(os.path.relpath(batch[0]["file"], ROOT), found)], time.monotonic() - started
        middle = len(batch) // 2
        return self.check(batch[:middle])[0] + self.check(batch[middle:])[0], time.monotonic() - started


def batches(entries):
    """Files with one compile command, a folder's next to each other, BATCH at a time."""
    alike = {}
    for entry in entries:
        alike.setdefault((os.path.dirname(entry["file"]), *plain_arguments(entry)), []).append(entry)
    for files in alike.values():
        yield from (files[at : at + BATCH] for at in range(0, len(files), BATCH))


def ships(path):
    relative = os.path.relpath(path, ROOT)
    return relative.startswith("src/") and not re.search(r"_(test|fuzz|bench)\.cc$|/testdata/", relative)


def forget_old():
    oldest = time.time() - KEPT_DAYS * 86400
    for path in (CACHE / "clean").iterdir():
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("database", type=pathlib.Path)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()

    entries = {entry["file"]: entry for entry in json.loads(options.database.read_text()) if ships(entry["file"])}
    if options.files:
        wanted = {os.path.realpath(file) for file in options.files}
        entries = {file: entry for file, entry in entries.items() if file in wanted}
    checker = Checker()
    changed = [entries[file] for file in sorted(entries) if not checker.is_known(entries[file])]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = {pool.submit(checker.check, batch): batch for batch in batches(changed)}
        for job in concurrent.futures.as_completed(jobs):
            found, seconds = job.result()
            failed += len(found)
            for source, text in found:
                print(f"clang-tidy: {source} FAILED\n{text}", flush=True)
            names = " ".join(os.path.basename(entry["file"]) for entry in jobs[job])
            print(f"clang-tidy: {len(jobs[job]) - len(found)} clean of {names} ({seconds:.0f} s)", flush=True)
    forget_old()
    print(f"clang-tidy: {len(entries)} sources, {len(entries) - len(changed)} unchanged since they were clean, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
