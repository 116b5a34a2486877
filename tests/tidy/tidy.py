#!/usr/bin/env python3
"""The rules of the tree that a compiler does not know: `tidy.py --root DIR [--compile-commands FILE] [--elsewhere GLOB...]`.

It reads who may include whom from the `edges` block of ARCHITECTURE.md, and fails on
  - an include that the block does not allow, that does not exist, or that is not written from src/;
  - a header without #pragma once, without an opening paragraph, or a source that does not include its own header first;
  - a source that no target builds (by the compile commands; --elsewhere names what other build folders build);
  - a file of more than 700 lines of code (above 500 it warns);
  - a word that has no place here (FORBIDDEN_WORDS).
That a header compiles alone is the build's own check: cmake/HeaderChecks.cmake.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import re
import sys

LINES_WARNED = 500
LINES_MAX = 700
FORBIDDEN_WORDS = ()  # regular expressions
ENDINGS = (".h", ".cc")
TEST_ENDING = re.compile(r"_(test|fuzz|bench)\.(h|cc)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


class RuleError(Exception):
    """The edges block itself is wrong."""


class Edges:
    """Which folder may include which, as ARCHITECTURE.md says."""

    def __init__(self, text):
        block = re.search(r"^```edges\n(.*?)^```$", text, re.M | re.S)
        if not block:
            raise RuleError("ARCHITECTURE.md has no ```edges block")
        self.engines, self.allowed, self.libraries, self.tests = [], {}, {}, set()
        lines = [line for line in block[1].splitlines() if line.strip()]
        for line in lines:
            if re.match(r"engines\s*=", line):
                self.engines = line.split("=")[1].split()
        for line in lines:
            if not re.match(r"engines\s*=", line):
                self._read(line)
        known = set(self.allowed)
        for names in [*self.allowed.values(), self.tests, *self.libraries.values()]:
            for name in names - known:
                raise RuleError(f"the edges block names {name}, which has no line of its own")

    def _read(self, line):
        left, arrow, right = line.partition("->")
        left, right = left.strip(), right.split()
        if not arrow or len(left.split()) != 1:
            raise RuleError(f"the edges block has a line that is none: {line.strip()}")
        if left == "tests":
            self.tests = self._expand(right)
        elif left.startswith("<"):
            self.libraries[left[1:]] = self._expand(right)
        elif "ENGINE" in left:
            for engine in self.engines:
                self.allowed[left.replace("ENGINE", engine)] = {name.replace("ENGINE", engine) for name in right}
        else:
            self.allowed[left] = self._expand(right)

    def _expand(self, names):
        expanded = set()
        for name in names:
            expanded |= {name.replace("ENGINE", engine) for engine in self.engines} if "ENGINE" in name else {name}
        return expanded

    def folder_of(self, path):
        """The folder of the block that a path below src/ belongs to, or nothing."""
        folder = os.path.dirname(path)
        while folder and folder not in self.allowed:
            folder = os.path.dirname(folder)
        return folder or None

    def allows(self, path, included):
        home, target = self.folder_of(path), self.folder_of(included)
        if home == target or target in self.allowed[home]:
            return True
        return bool(TEST_ENDING.search(path)) and target in self.tests

    def library_homes(self, included):
        """The folders that alone may include this library's header, or nothing where all may."""
        for prefix, homes in self.libraries.items():
            if included.startswith(prefix):
                return homes
        return None


def code_lines(text):
    """How many lines are neither empty nor only a comment."""
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.S)
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("//"))


class Tidy:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.source = self.root / "src"
        self.edges = Edges((self.root / "ARCHITECTURE.md").read_text())
        self.errors, self.warnings = [], []

    def error(self, path, line, message):
        self.errors.append(f"{path}:{line}: {message}")

    def files(self):
        for path in sorted(self.source.rglob("*")):
            if path.is_file() and "testdata" not in path.parts:
                yield path

    def check_tree(self):
        for path in self.files():
            name = path.relative_to(self.source).as_posix()
            if path.suffix not in ENDINGS:
                if path.suffix in (".cpp", ".cxx", ".c", ".hpp", ".hh", ".inl", ".ipp"):
                    self.error(f"src/{name}", 1, "sources end in .cc and headers in .h; the build takes no other")
                continue
            text = path.read_text(encoding="utf-8")
            if not self.edges.folder_of(name):
                self.error(f"src/{name}", 1, "its folder has no line in ARCHITECTURE.md's edges block")
                continue
            self.check_includes(name, text)
            self.check_shape(name, text)

    def check_includes(self, name, text):
        for number, line in enumerate(text.splitlines(), start=1):
            match = INCLUDE.match(line)
            if not match:
                continue
            ours, included = match[1] == '"', match[2]
            if ours and not (self.source / included).is_file():
                self.error(f"src/{name}", number, f'"{included}" is not a file of src/ (paths are written from there)')
            elif ours and not self.edges.folder_of(included):
                self.error(f"src/{name}", number, f'"{included}" lies in a folder that the edges block does not know')
            elif ours and not self.edges.allows(name, included):
                self.error(f"src/{name}", number, f"{self.edges.folder_of(name)} must not include {self.edges.folder_of(included)}"
                           f' ("{included}"): ARCHITECTURE.md, "Who may know whom"')
            elif not ours and not TEST_ENDING.search(name):
                homes = self.edges.library_homes(included)
                if homes is not None and self.edges.folder_of(name) not in homes:
                    self.error(f"src/{name}", number, f"<{included}> belongs behind the types of {' or '.join(sorted(homes))}")

    def check_shape(self, name, text):
        lines = text.splitlines()
        if name.endswith(".h"):
            if "#pragma once" not in lines:
                self.error(f"src/{name}", 1, "no #pragma once")
            if not lines or not lines[0].startswith("//"):
                self.error(f"src/{name}", 1, "no opening paragraph that says what this is")
        else:
            own = name[: -len(".cc")] + ".h"
            includes = [match[2] for match in map(INCLUDE.match, lines) if match]
            if (self.source / own).is_file() and includes[:1] != [own]:
                self.error(f"src/{name}", 1, f'"{own}" is not its first include')
        count = code_lines(text)
        if count > LINES_MAX:
            self.error(f"src/{name}", 1, f"{count} lines of code, more than {LINES_MAX}: look for the second concept in it")
        elif count > LINES_WARNED:
            self.warnings.append(f"src/{name}:1: {count} lines of code, more than {LINES_WARNED}")

    def check_built(self, commands, elsewhere):
        built = {os.path.realpath(os.path.join(entry["directory"], entry["file"])) for entry in commands}
        for path in self.files():
            name = path.relative_to(self.root).as_posix()
            if path.suffix != ".cc" or os.path.realpath(path) in built:
                continue
            if not any(fnmatch.fnmatch(name, pattern) for pattern in elsewhere):
                self.error(name, 1, "no target builds it")

    def check_words(self, names, words=FORBIDDEN_WORDS):
        if not words:
            return
        pattern = re.compile("|".join(words), re.I)
        for name in names:
            path = self.root / name
            data = path.read_bytes() if path.is_file() else b"\0"
            if b"\0" in data:
                continue
            for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
                if match := pattern.search(line):
                    self.error(name, number, f"'{match[0]}' has no place here")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--compile-commands")
    parser.add_argument("--elsewhere", action="append", default=[])
    options = parser.parse_args()
    try:
        tidy = Tidy(options.root)
    except RuleError as wrong:
        print(f"tidy: {wrong}")
        return 1
    tidy.check_tree()
    if options.compile_commands:
        tidy.check_built(json.loads(pathlib.Path(options.compile_commands).read_text()), options.elsewhere)
    tidy.check_words(path.relative_to(tidy.root).as_posix() for path in tidy.root.rglob("*")
                     if path.is_file() and not {".git", "build", "testdata"} & set(path.relative_to(tidy.root).parts))
    for line in [f"warning: {warning}" for warning in tidy.warnings] + tidy.errors:
        print(line)
    print(f"tidy: {len(tidy.errors)} errors, {len(tidy.warnings)} warnings")
    return 1 if tidy.errors else 0


if __name__ == "__main__":
    sys.exit(main())
