"""scripts/gpu-check with programs that fail, crash, hang or are missing, and the comparison that it ends with.

    python3 script_test.py .../cuda_gpu_check

Needs no GPU, no torch and no compiler. JPEG files are made where Pillow and NumPy are installed.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = Path(sys.argv.pop(1)).resolve()
SUITES = ("kernels", "attention", "top_k", "prefilter", "quantize", "resident")

# A gpu_check that does in each stage what the test says: 3 is an exit status, "crash" a signal, "hang" no end.
FAKE_CHECK = """#!/usr/bin/env bash
while [ $# -gt 0 ]; do
  case "$1" in --stage) stage=$2; shift ;; --json) json=$2; shift ;; esac
  shift
done
printf '{"stage":"%s","measured":1}\\n' "$stage" >> "$json"
behaviour=$(sed -n "s/^$stage //p" "$(dirname "$0")/behaviour")
case "$behaviour" in
  hang) sleep 60 ;;
  crash) kill -SEGV $$ ;;
  straggler) setsid sleep 20 & ;;
  *) exit "${behaviour:-0}" ;;
esac
"""

# A compute-sanitizer that knows the outcome by the name of the suite.
FAKE_SANITIZER = """#!/usr/bin/env bash
echo "$*" >> "$(dirname "$0")/calls"
echo "========= COMPUTE-SANITIZER"
good="[doctest] Status: SUCCESS!"
case "$*" in
  *kernels*) echo "$good"; echo "========= ERROR SUMMARY: 0 errors" ;;
  *attention*) echo "[doctest] Status: FAILURE!"; echo "========= ERROR SUMMARY: 0 errors"; exit 1 ;;
  *racecheck*top_k*) echo "$good"; echo "========= RACECHECK SUMMARY: 2 hazards (1 error, 1 warning)"; exit 9 ;;
  *top_k*) echo "$good" ;;
  *prefilter*) echo "========= Error: Device not supported"; exit 1 ;;
  *quantize*) sleep 60 ;;
  *resident*) [ "$TORCHCLIP_CUDA_PLAIN_MEMORY" = 1 ] && echo "$good" ;;
esac
"""


def write_program(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


class Folder(unittest.TestCase):
    """Each test has a build folder of its own, as the stage build leaves it, and runs the script there."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = Path(folder.name)
        self.programs = self.build / "native/test/cuda"
        self.programs.mkdir(parents=True)
        self.json = self.build / "gpu-check.jsonl"

    def fake_check(self, **behaviours):
        write_program(self.programs / "cuda_gpu_check", FAKE_CHECK)
        lines = [f"{stage} {behaviour}\n" for stage, behaviour in behaviours.items()]
        (self.programs / "behaviour").write_text("".join(lines))

    def run_script(self, *arguments):
        command = [ROOT / "scripts/gpu-check", "--dry-run", "--build", self.build, *arguments]
        environment = os.environ | {"PYTHON": sys.executable}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)

    def rows(self, **fields):
        rows = [json.loads(line) for line in self.json.read_text().splitlines()]
        return [row for row in rows if row.items() >= fields.items()]

    def failures(self):
        return [row["failed"] for row in self.rows() if "failed" in row]


class Stages(Folder):
    def test_a_stage_that_fails_crashes_or_hangs_leaves_the_others(self):
        self.fake_check(model="crash", host="1", texts="hang")
        start = time.monotonic()
        run = self.run_script("--stage", "build,model,host,texts,search", "--torch", "/nowhere", "--limit", "3")
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertLess(time.monotonic() - start, 25)
        passed = {row["name"]: row["passed"] for row in self.rows(stage="stage")}
        self.assertEqual(passed, {"build": False, "model": False, "host": False, "texts": False, "search": True})
        failures = "; ".join(self.failures())
        self.assertIn("build: /nowhere/lib holds no libtorch_cpu.so", failures)
        self.assertIn("model: its program ended with exit status 139", failures)
        self.assertIn("texts: it took longer than 3 s", failures)
        # What a stage had measured is kept.
        self.assertEqual(len(self.rows(measured=1)), 4)
        self.assertIn("failed: build", run.stderr)

    def test_a_program_that_is_missing_fails_its_stages_alone(self):
        run = self.run_script("--stage", "host,texts")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(len(self.failures()), 2)
        self.assertIn("cuda_gpu_check is not there: the stage build makes it", self.failures()[0])

    def test_without_doctest_the_tests_are_skipped_and_the_rest_is_measured(self):
        self.fake_check()
        (self.build / "CMakeCache.txt").write_text("TORCHCLIP_HAS_DOCTEST:INTERNAL=_doctest-NOTFOUND\n")
        run = self.run_script("--stage", "test,host")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("--doctest", self.rows(stage="test")[0]["skipped"])
        self.assertEqual(len(self.rows(stage="host", measured=1)), 1)

    def test_families_run_where_their_artifacts_are(self):
        (self.build / "CMakeCache.txt").write_text("TORCHCLIP_HAS_DOCTEST:INTERNAL=/usr/include\n")
        write_program(self.programs / "cuda_families_test", '#!/bin/sh\n[ -e "$1/family-vit.pt" ]\n')
        artifacts = self.build / "families"
        arguments = ("--stage", "families", "--families", artifacts)
        self.assertEqual(self.run_script(*arguments).returncode, 0)
        self.assertIn("family-artifacts.ts", self.rows(stage="families")[0]["skipped"])
        artifacts.mkdir()
        self.assertEqual(self.run_script(*arguments).returncode, 1)
        self.assertIn("families: tests fail", self.failures()[0])
        (artifacts / "family-vit.pt").touch()
        self.assertEqual(self.run_script(*arguments).returncode, 0)
        self.assertEqual(len(self.rows(stage="families", passed=True)), 1)

    def test_what_has_no_time_left_is_skipped(self):
        self.fake_check(host="hang")
        self.run_script("--stage", "host,texts", "--total", "1")
        self.assertIn("no time is left", self.rows(stage="texts")[0]["skipped"])

    def test_a_process_that_a_stage_leaves_behind_holds_up_nothing(self):
        self.fake_check(host="straggler")
        start = time.monotonic()
        self.assertEqual(self.run_script("--stage", "host,texts").returncode, 0)
        self.assertLess(time.monotonic() - start, 15)

    def test_begins_with_the_machine(self):
        self.fake_check()
        self.run_script("--stage", "host")
        first = self.rows()[0]
        self.assertEqual(first["stage"], "machine")
        self.assertGreaterEqual(first["cores"], 1)
        self.assertTrue({"gpu", "cpu", "commit", "cuda"} <= first.keys())

    def test_a_run_of_every_stage_keeps_the_results_before_it(self):
        self.json.write_text('{"stage":"speed"}\n')
        self.run_script("--torch", "/nowhere", "--limit", "1")
        self.assertEqual((self.build / "gpu-check.jsonl.old").read_text(), '{"stage":"speed"}\n')

    def test_the_real_program_measures(self):
        (self.programs / "cuda_gpu_check").symlink_to(PROGRAM)
        run = self.run_script("--stage", "host,texts,search")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual({row["gpu"] for row in self.rows(stage="host")}, {"a GPU's model on the host"})
        ways = {row["how"] for row in self.rows(stage="host") if "how" in row}
        self.assertEqual(ways, {"one call", "two calls in flight", "two calls in flight, page-locked"})
        self.assertEqual(len(self.rows(stage="search", what="similarity")), 1)

    def test_wrong_arguments(self):
        for arguments in (["--stage", "hosts"], ["--limit", "0"], ["--limit", "x"], ["--stage"], ["--fast"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.run_script(*arguments).returncode, 2)


class Sanitizer(Folder):
    def test_a_test_that_fails_is_told_from_an_error_and_from_a_tool_that_does_not_run(self):
        (self.build / "CMakeCache.txt").write_text("TORCHCLIP_HAS_DOCTEST:INTERNAL=/usr/include\n")
        for suite in SUITES:
            write_program(self.programs / f"cuda_{suite}_test", "#!/bin/sh\n")
        sanitizer = self.build / "compute-sanitizer"
        write_program(sanitizer, FAKE_SANITIZER)
        run = self.run_script("--stage", "sanitize", "--sanitizer", sanitizer, "--limit", "6")
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        outcomes = {}
        for row in self.rows(stage="sanitize"):
            outcomes[row["what"].split()[1], row["suite"]] = row.get("failed", row.get("skipped", row.get("passed")))
        self.assertEqual(outcomes["memcheck", "kernels"], True)
        self.assertEqual(outcomes["memcheck", "top_k"], True)
        self.assertEqual(outcomes["memcheck", "resident"], True)
        for tool in ("memcheck", "racecheck"):
            self.assertIn("a test fails", outcomes[tool, "attention"])
            self.assertIn("does not run here (exit status 1): ========= Error: Device", outcomes[tool, "prefilter"])
            self.assertEqual(outcomes[tool, "quantize"], "it took longer than 3 s")
        self.assertIn("the tool finds errors", outcomes["racecheck", "top_k"])
        calls = (self.build / "calls").read_text().splitlines()
        self.assertTrue(all(("--report-api-errors no" in call) == ("memcheck" in call) for call in calls))


class Compare(Folder):
    B32 = {"model": "ViT-B/32", "batch": 256}
    ROWS = (
        B32 | {"stage": "speed", "device": "cuda", "precision": "bf16", "imagesPerSecond": 60000},
        B32 | {"stage": "speed", "device": "cuda", "precision": "fp8", "imagesPerSecond": 70000},
        B32 | {"stage": "speed", "device": "cpu", "precision": "bf16", "imagesPerSecond": 600},
        B32 | {"stage": "pytorch", "how": "default", "imagesPerSecond": 40000},
        B32 | {"stage": "host", "how": "two calls in flight", "imagesPerSecond": 48000},
        B32 | {"stage": "accuracy", "precision": "bf16", "imageCosine": 0.9999},
        B32 | {"stage": "accuracy", "precision": "fp8", "imageCosine": None},
        {"stage": "search", "rows": 10**6, "queries": 16, "residentMilliseconds": 0.2, "residentScanMilliseconds": 0.8},
        {"stage": "pytorch", "what": "top-k", "how": "base on the device", "queries": 16, "milliseconds": 1},
        {"stage": "host", "failed": "host: something"},
    )

    def compare(self):
        command = [sys.executable, ROOT / "scripts/gpu-check.py", "compare", "--json", self.json]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def test_goals_stand_beside_what_was_measured(self):
        self.json.write_text("".join(json.dumps(row) + "\n" for row in self.ROWS) + '{"stage":"spe')
        text = self.compare()
        met = {row["goal"]: row["met"] for row in self.rows(stage="compare", what="goal")}
        expected = {
            "ViT-B/32 bf16, images/s": True,
            "ViT-B/32 fp8, images/s": False,
            "ViT-L/14 bf16, images/s": None,
            "ViT-B/32 bf16, times torch.compile": True,
            "ViT-B/32 bf16, host memory / device": False,
            "ViT-B/32 bf16, least cosine to fp32": True,
            "ViT-B/32 fp8, least cosine to fp32": False,
            "top-10 of 1M x 512 by the int8 copy, ms": True,
            "top-10 of 1M x 512 by all rows, ms": False,
        }
        self.assertEqual({name: met[name] for name in expected}, expected)
        self.assertEqual(self.rows(how="CPU, images")[0]["ratio"], 100)
        self.assertEqual(self.rows(stage="compare", what="top-k")[0]["ratio"], 5)
        self.assertIn("FAILED: host: something", text)

    def test_again_its_rows_are_replaced(self):
        self.json.write_text("".join(json.dumps(row) + "\n" for row in self.ROWS))
        self.compare()
        once = self.json.read_text()
        self.compare()
        self.assertEqual(self.json.read_text(), once)


class Images(Folder):
    def test_jpeg_files_beside_their_pixels(self):
        command = [sys.executable, ROOT / "scripts/gpu-check.py", "images", self.build / "images", "--dry-run"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if run.returncode == 3:
            self.assertIn("Pillow", run.stderr)
            self.skipTest("Pillow or NumPy is not installed")
        self.assertEqual(run.returncode, 0, run.stderr)
        files = sorted(path.name for path in (self.build / "images").iterdir())
        self.assertEqual(files, [f"{i:02}.{kind}" for i in range(4) for kind in ("jpg", "ppm")])
        self.assertTrue((self.build / "images/00.jpg").read_bytes().startswith(b"\xff\xd8"))
        self.assertTrue((self.build / "images/00.ppm").read_bytes().startswith(b"P6\n500 375\n255\n"))


if __name__ == "__main__":
    unittest.main()
