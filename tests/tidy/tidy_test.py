#!/usr/bin/env python3
"""Plants one violation of each rule of tidy.py, and of the header check, into a small tree and looks whether it is seen."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import tidy  # noqa: E402

ARCHITECTURE = """
```edges
engines       = volume chunks
base          ->
net           -> base
sim           -> base net
ENGINE/core   -> base
ENGINE/driver -> ENGINE/core base net
host          -> ENGINE/driver ENGINE/core net base
tests         -> sim base

<boost/asio   -> net
```
"""
HEADER = "// What this is.\n#pragma once\n"


def found(files, architecture=ARCHITECTURE):
    """The errors of a tree that has these files below src/ (and good ones, for them to include), and its warnings."""
    tree = {
        "base/bytes.h": HEADER,
        "net/stream.h": HEADER,
        "sim/world.h": HEADER,
        "volume/core/packet.h": HEADER,
        "volume/driver/session.h": HEADER,
        "chunks/core/index.h": HEADER,
        **files,
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "ARCHITECTURE.md").write_text(architecture)
        for name, text in tree.items():
            (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "src" / name).write_text(text)
        checker = tidy.Tidy(root)
        checker.check_tree()
        return checker.errors, checker.warnings


class IncludesTest(unittest.TestCase):
    def test_allowed_includes_pass(self):
        rows = {
            "own folder": ("volume/core/a.cc", '#include "volume/core/packet.h"\n'),
            "folder on the right": ("volume/core/a.cc", '#include "base/bytes.h"\n'),
            "own core": ("volume/driver/a.cc", '#include "volume/core/packet.h"\n'),
            "any engine for the host": ("host/a.cc", '#include "chunks/core/index.h"\n#include "volume/driver/session.h"\n'),
            "simulation in a test": ("volume/core/a_test.cc", '#include "sim/world.h"\n'),
            "simulation in a fuzzer": ("volume/core/a_fuzz.cc", '#include "sim/world.h"\n'),
            "library in its folder": ("net/a.cc", "#include <boost/asio/ip/tcp.hpp>\n"),
            "library in a test": ("host/a_test.cc", "#include <boost/asio/ip/tcp.hpp>\n"),
            "other libraries": ("volume/core/a.cc", "#include <boost/json.hpp>\n#include <vector>\n"),
            "a folder below a listed one": ("net/tls/a.cc", '#include "base/bytes.h"\n'),
        }
        for row, (name, text) in rows.items():
            with self.subTest(row):
                self.assertEqual(found({name: text})[0], [])

    def test_forbidden_includes_are_named(self):
        rows = {
            "base knows nobody": ("base/a.cc", '#include "net/stream.h"\n', "base must not include net"),
            "a core does no I/O": ("volume/core/a.cc", '#include "net/stream.h"\n', "volume/core must not include net"),
            "a core and its driver": ("volume/core/a.h", HEADER + '#include "volume/driver/session.h"\n', "must not include"),
            "engine and engine": ("volume/driver/a.cc", '#include "chunks/core/index.h"\n', "must not include chunks/core"),
            "production and simulation": ("host/a.cc", '#include "sim/world.h"\n', "host must not include sim"),
            "spaces in the directive": ("base/a.cc", '#  include  "net/stream.h"\n', "base must not include net"),
            "a test's own limits": ("base/a_test.cc", '#include "net/stream.h"\n', "base must not include net"),
            "a file that is not there": ("base/a.cc", '#include "base/nothing.h"\n', "is not a file of src/"),
            "not written from src": ("base/a.cc", '#include "bytes.h"\n', "is not a file of src/"),
            "a library elsewhere": ("host/a.cc", "#include <boost/asio.hpp>\n", "belongs behind the types of net"),
        }
        for row, (name, text, message) in rows.items():
            with self.subTest(row):
                errors = found({name: text})[0]
                self.assertEqual(len(errors), 1, errors)
                self.assertIn(message, errors[0])
                self.assertTrue(errors[0].startswith(f"src/{name}:"), errors[0])

    def test_a_folder_without_a_line_is_named(self):
        self.assertIn("has no line", found({"utils/a.cc": ""})[0][0])
        self.assertIn("has no line", found({"volume/a.cc": ""})[0][0])


class ShapeTest(unittest.TestCase):
    def test_shape_is_looked_at(self):
        rows = {
            "no pragma once": ({"base/a.h": "// What.\n"}, "no #pragma once"),
            "no opening paragraph": ({"base/a.h": "#pragma once\n"}, "no opening paragraph"),
            "own header not first": (
                {"base/a.h": HEADER, "base/a.cc": '#include <vector>\n#include "base/a.h"\n'},
                "is not its first include",
            ),
            "an ending the build ignores": ({"base/a.cpp": ""}, "the build takes no other"),
            "too long": ({"base/a.cc": "int x;\n" * 701}, "701 lines of code"),
        }
        for row, (files, message) in rows.items():
            with self.subTest(row):
                errors = found(files)[0]
                self.assertEqual(len(errors), 1, errors)
                self.assertIn(message, errors[0])

    def test_comments_and_empty_lines_are_not_code(self):
        self.assertEqual(found({"base/a.cc": "// x\n\n/* a\nb */\n" * 400}), ([], []))
        self.assertEqual(len(found({"base/a.cc": "int x;\n" * 501})[1]), 1)


class BuiltTest(unittest.TestCase):
    def test_a_source_that_no_target_builds_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "ARCHITECTURE.md").write_text(ARCHITECTURE)
            (root / "src/base/testdata").mkdir(parents=True)
            for name in ("built.cc", "forgotten.cc", "slow_bench.cc", "testdata/sample.cc"):
                (root / "src/base" / name).touch()
            checker = tidy.Tidy(root)
            commands = [{"directory": str(root / "src"), "file": "base/built.cc"}]
            checker.check_built(commands, ["src/*_bench.cc"])
            self.assertEqual(checker.errors, ["src/base/forgotten.cc:1: no target builds it"])

    def test_a_word_that_has_no_place_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "ARCHITECTURE.md").write_text(ARCHITECTURE)
            (root / "notes.md").write_text("fine\nFrobnicate it\n")
            checker = tidy.Tidy(root)
            checker.check_words(["notes.md"], ["frobnicat"])
            self.assertEqual(checker.errors, ["notes.md:2: 'Frobnicat' has no place here"])


class EdgesTest(unittest.TestCase):
    def test_a_block_that_is_wrong_is_refused(self):
        rows = {
            "missing": "no block here",
            "an unknown name": "```edges\nengines =\nbase -> nothing\n```\n",
            "no arrow": "```edges\nengines =\nbase\n```\n",
        }
        for row, text in rows.items():
            with self.subTest(row), self.assertRaises(tidy.RuleError):
                tidy.Edges(text)

    def test_the_projects_own_block_is_read(self):
        edges = tidy.Edges((HERE.parent.parent / "ARCHITECTURE.md").read_text())
        self.assertEqual(edges.allowed["base"], set())
        self.assertEqual(edges.allowed["volume/core"], {"base"})
        self.assertNotIn("sim", edges.allowed["host"])


class HeaderCheckTest(unittest.TestCase):
    """cmake/HeaderChecks.cmake, in a project of two headers."""

    def build(self, header):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "src").mkdir()
            (root / "src/good.h").write_text("#pragma once\n#include <string>\ninline std::string a;\n")
            (root / "src/looked_at.h").write_text(header)
            (root / "CMakeLists.txt").write_text(
                "cmake_minimum_required(VERSION 3.25)\nproject(headers LANGUAGES CXX)\n"
                f"include({HERE.parent.parent}/cmake/HeaderChecks.cmake)\ngodwit_header_checks()\n"
            )
            configure = ["cmake", "-G", "Ninja", "-S", folder, "-B", f"{folder}/build"]
            subprocess.run(configure, check=True, capture_output=True)
            run = subprocess.run(["cmake", "--build", f"{folder}/build"], capture_output=True, text=True)
            return run.returncode, run.stdout

    def test_a_header_that_compiles_alone_passes(self):
        self.assertEqual(self.build("#pragma once\n#include <string>\ninline std::string b;\n")[0], 0)

    def test_a_header_that_leans_on_another_fails(self):
        status, output = self.build("#pragma once\ninline std::string b;\n")
        self.assertNotEqual(status, 0)
        self.assertIn("looked_at.h", output)


if __name__ == "__main__":
    unittest.main()
