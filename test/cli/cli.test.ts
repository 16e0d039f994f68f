import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Goldens } from "../../lib/models/store/goldens.js";
import { assertNear } from "../support/compare.js";
import { assertMissing, fixture, root, temporaryFolder, tinyModel } from "../support/index.js";
import { commandLine, MAIN } from "../support/process.js";

const folder = temporaryFolder();
const cache = join(folder, "cache");
const cli = commandLine(cache);

interface Results {
  manifest: {
    counts: { evaluated: number; skipped: number };
    model: { weights: { sha256: string }; parameters?: number };
    prompts: { templates: string[] };
    seconds: Record<string, number>;
  };
  metrics: { accuracy: number; count: number };
}

describe("torchclip eval", function () {
  this.timeout(300_000);
  const out = join(folder, "out");

  it("does the main job: model, data set, example, metrics, files", () => {
    const { status, stdout, stderr } = cli("eval", "-o", out);
    assert.equal(status, 0, stderr);
    for (const part of [
      /Model: tiny .* on cpu, fp32/,
      /test +640 = 320 negative \+ 320 positive/,
      /Top predictions:\n\n +\w+: \d+\.\d\d%\n/,
      /Accuracy: +9\d\.\d\d%/,
      /Precision:/,
      /Recall:/,
    ]) {
      assert.match(stdout, part);
    }
    assert.deepEqual(readdirSync(out).sort(), [
      "example.png",
      "grid.png",
      "predictions.csv",
      "report.html",
      "results.json",
    ]);
    const results = JSON.parse(readFileSync(join(out, "results.json"), "utf8")) as Results;
    assert.ok(results.metrics.accuracy > 0.9, "held-out reviews are read, not guessed");
    assert.match(results.manifest.model.weights.sha256, /^[0-9a-f]{64}$/);
    assert.equal(readFileSync(join(out, "predictions.csv"), "utf8").trim().split("\n").length, 641);
    const html = readFileSync(join(out, "report.html"), "utf8");
    assert.ok(html.includes("<svg") && html.includes("data:image/png;base64,"));
    assert.ok(!/(src|href)="(?!data:)/.test(html), "the report is self-contained");
  });

  it("scenes: 24 classes", () => {
    const { status, stdout } = cli("eval", "-s", "scenes", "-o", join(folder, "scenes"), "--json");
    assert.equal(status, 0);
    assert.ok((JSON.parse(stdout) as Results).metrics.accuracy > 0.9);
  });

  it("unreadable images are skipped and counted, or stop it", () => {
    const data = join(folder, "images");
    for (const c of ["negative", "positive"]) {
      mkdirSync(join(data, c), { recursive: true });
      copyFileSync(fixture("images/rgb.png"), join(data, c, "a.png"));
    }
    writeFileSync(join(data, "positive", "b.png"), "this is text");
    const skip = cli("eval", "-s", data, "-o", join(folder, "skip"));
    assert.equal(skip.status, 0, skip.stderr);
    assert.match(skip.stdout, /Skipped: 1 images[^]*positive\/b\.png/);
    const fail = cli("eval", "-s", data, "-o", join(folder, "fail"), "--on-error", "fail");
    assert.equal(fail.status, 1);
    assert.match(fail.stderr, /E_IMAGE_DECODE.*b\.png/);
  });

  it("--resume continues a stopped evaluation to the same result as an unbroken one", async () => {
    const broken = join(folder, "broken");
    const journal = join(broken, "evaluation.journal");
    const child = spawn(process.execPath, [MAIN, "eval", "-o", broken, "-b", "16"], {
      env: { ...process.env, TORCHCLIP_CACHE: cache },
    });
    const closed = new Promise<number | null>((r) => child.on("close", r));
    while (!existsSync(journal) || readFileSync(journal, "utf8").split("\n").length < 8)
      await new Promise((r) => setTimeout(r, 10));
    child.kill("SIGINT");
    assert.equal(await closed, 130);
    const lines = readFileSync(journal, "utf8").split("\n").length;
    assert.ok(lines < 42, "it stopped before the end");
    writeFileSync(journal, readFileSync(journal, "utf8") + '{"start":9,"ro'); // a line that a kill cut
    const other = cli("eval", "-o", broken, "-b", "16", "--resume", "--template", "a {}");
    assert.equal(other.status, 2, "other prompts are another evaluation");
    assert.match(other.stderr, /E_ARGUMENT.*templates was .* and is \["a \{\}"\]/);
    assert.equal(cli("eval", "-o", broken, "-b", "16", "--resume").status, 0);
    assert.equal(cli("eval", "-o", join(folder, "whole"), "-b", "16").status, 0);
    assert.equal(
      readFileSync(join(broken, "predictions.csv"), "utf8"),
      readFileSync(join(folder, "whole", "predictions.csv"), "utf8"),
    );
    assertMissing(journal);
  });
});

describe("torchclip", () => {
  it("classify prints the ranked labels, or JSON", () => {
    const image = fixture("images/rgb.png");
    assert.match(cli("classify", image, "--labels", "red circle,blue square").stdout, /Top predictions:/);
    const json = JSON.parse(cli("classify", image, "--labels", "a,b", "--json").stdout) as {
      predictions: { probability: number }[];
    }[];
    assertNear(
      json[0].predictions.reduce((s, p) => s + p.probability, 0),
      1,
      1e-6,
    );
  });

  it("limits of images: --max-pixels, --no-urls, and no private address without --allow-private", () => {
    const image = fixture("images/rgb.png");
    assert.match(cli("classify", image, "-l", "a,b", "--max-pixels", "100").stderr, /E_IMAGE_TOO_LARGE/);
    assert.match(
      cli("classify", "http://127.0.0.1:9/x?key=secret", "-l", "a,b", "--no-urls").stderr,
      /x\?…: URLs are not read here/,
    );
    assert.match(cli("classify", "http://127.0.0.1:9/x", "-l", "a,b").stderr, /not a public address/);
    assert.match(
      cli("classify", "http://127.0.0.1:9/x", "-l", "a,b", "--allow-private").stderr,
      /ECONNREFUSED/,
    );
  });

  it("embed --texts of a file that is not there, or is a folder: E_READ with its name, and nothing is written", () => {
    for (const texts of [join(folder, "no-texts.txt"), folder]) {
      const out = join(folder, "none.npy");
      const { status, stderr } = cli("embed", "-m", "tiny", "--texts", texts, "-o", out);
      assert.equal(status, 1);
      assert.match(stderr, /E_READ/);
      assert.ok(stderr.includes(texts), stderr);
      assertMissing(out);
    }
  });

  it("models, datasets and doctor say what there is", () => {
    assert.match(cli("models").stdout, /tiny[^]*ViT-B\/32/);
    assert.match(cli("datasets").stdout, /rendered-sst2/);
    assert.match(cli("doctor").stdout, /libtorch +2\.\d+/);
    JSON.parse(cli("doctor", "--json").stdout);
  });

  it("setup --list shows the addon and its size, and setup refuses what it does not know", () => {
    assert.match(cli("setup", "--list").stdout, /^addon +\d+\.\d MB +.*torchclip\.node$/m);
    const parts = JSON.parse(cli("setup", "--json").stdout) as { name: string; bytes: number }[];
    assert.ok(parts.some(({ name, bytes }) => name === "addon" && bytes > 1e6));
    assert.equal(cli("setup", "tensorflow").status, 2);
    assert.equal(cli("setup", "torch", "--list").status, 2);
  });

  it("datasets render makes images of a TSV", () => {
    const tsv = join(folder, "s.tsv");
    writeFileSync(tsv, "a great film\t1\nso bad\t0\n");
    const { status, stderr } = cli("datasets", "render", tsv, "-o", join(folder, "drawn"));
    assert.equal(status, 0, stderr);
    assert.ok(
      existsSync(join(folder, "drawn", "positive", "00000.png")) &&
        existsSync(join(folder, "drawn", "negative", "00001.png")),
    );
  });

  const usage: [string, string[], number][] = [
    ["an unknown option", ["eval", "--frobnicate"], 2],
    ["a batch of 0", ["eval", "-b", "0"], 2],
    ["no labels", ["classify", "x.png"], 2],
    ["an unknown model", ["classify", fixture("images/rgb.png"), "-l", "a", "-m", "nothing"], 1],
    ["--help", ["--help"], 0],
  ];
  for (const [what, args, code] of usage)
    it(`${what}: exit ${code}`, () => assert.equal(cli(...args).status, code));
});

describe("torchclip eval --models --datasets, doctor --model, bench", function () {
  this.timeout(120_000);

  it("one table, each cell with its manifest; --resume computes nothing twice, other settings do", () => {
    const out = join(folder, "table");
    const args = [
      "eval",
      "--models",
      "tiny",
      "--datasets",
      "rendered-demo,scenes",
      "--limit",
      "20",
      "-o",
      out,
    ];
    const first = cli(...args);
    assert.equal(first.status, 0, first.stderr);
    const [head, rule, row] = first.stdout.split("\n");
    assert.equal(head, "| model | parameters | rendered-demo (20) | scenes (20) | mean | images/s |");
    assert.match(rule, /^[ |:-]+$/);
    assert.match(row, /^\| tiny \| 4\.7 M \| \d+\.\d\d % \(/);
    for (const name of ["table.md", "table.csv", "table.json", "table.html", "tiny/scenes/results.json"])
      assert.ok(existsSync(join(out, name)), name);
    const cells = JSON.parse(readFileSync(join(out, "table.json"), "utf8")) as {
      dataset: string;
      accuracy: number;
      results: string;
    }[];
    assert.deepEqual(
      cells.map((c) => c.dataset),
      ["rendered-demo", "scenes"],
    );
    assert.equal(
      (JSON.parse(readFileSync(join(out, cells[1].results), "utf8")) as Results).metrics.accuracy,
      cells[1].accuracy,
    );
    assert.equal(
      (JSON.parse(readFileSync(join(out, "tiny/scenes/results.json"), "utf8")) as Results).manifest.model
        .parameters,
      4_737_665,
    );
    const again = cli(...args, "--resume");
    assert.doesNotMatch(again.stderr, /tiny on/);
    assert.equal(again.stdout, first.stdout);
    assert.match(cli(...args, "--resume", "--precision", "int8").stderr, /tiny on scenes/);
  });

  it("import takes a name: the artifact of the cache, copied whole; an unknown one is E_MODEL_NOT_FOUND", () => {
    const out = join(folder, "named.pt");
    const { status, stdout, stderr } = cli("import", "tiny", "-o", out);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /named\.pt: vit\+transformer/);
    assert.deepEqual(readFileSync(out), readFileSync(join(root, "models", "tiny.pt")));
    const unknown = cli("import", "no-such-model", "-o", join(folder, "none.pt"));
    assert.equal(unknown.status, 1);
    assert.match(unknown.stderr, /E_MODEL_NOT_FOUND/);
    assertMissing(join(folder, "none.pt"));
  });

  it("doctor --model: every precision within its bound", () => {
    const { status, stdout, stderr } = cli("doctor", "--model", "tiny");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^against PyTorch .*tiny\.goldens\.json$/m);
    for (const precision of ["fp32", "bf16", "fp16", "int8"])
      assert.match(stdout, new RegExp(`^ok   ${precision} on `, "m"));
    assert.match(cli("doctor", "--model", copiedTiny()).stdout, /^against TorchScript in fp32 on this CPU$/m);
  });

  /** tiny without its goldens beside it. */
  const copiedTiny = () => {
    const copy = join(folder, "copied.pt");
    copyFileSync(tinyModel, copy);
    return copy;
  };

  it("doctor --model --write-goldens, --goldens: written, read back; a difference is found and named", () => {
    const file = join(folder, "written.goldens.json");
    assert.equal(cli("doctor", "--model", copiedTiny(), "--write-goldens", file).status, 0);
    const good = cli("doctor", "--model", "tiny", "--goldens", file);
    assert.equal(good.status, 0, good.stderr);
    assert.match(good.stdout, /against torchclip .*TorchScript in float32/);
    const goldens = JSON.parse(readFileSync(file, "utf8")) as Goldens;
    goldens.text[1][2] += 0.01;
    writeFileSync(file, JSON.stringify(goldens));
    const bad = cli("doctor", "--model", "tiny", "--goldens", file);
    assert.equal(bad.status, 1);
    assert.match(bad.stdout, /^BAD  fp32 on \S+ largest difference 1\.\d+e-2/m);
    for (const [wrong, why] of [
      ["{", /no JSON/],
      [JSON.stringify({ ...goldens, image: goldens.image.slice(1) }), /one row of numbers/],
      [JSON.stringify({ ...goldens, image: goldens.image.map(() => [1]) }), /another embedding dimension/],
    ] as const) {
      writeFileSync(file, wrong);
      const refused = cli("doctor", "--model", "tiny", "--goldens", file);
      assert.equal(refused.status, 2);
      assert.match(refused.stderr, /E_ARGUMENT/);
      assert.match(refused.stderr, why);
    }
  });

  it("bench: a line for each precision and batch, an explained line for a device that is not there, a plot", () => {
    const plot = join(folder, "bench.svg");
    const { status, stdout, stderr } = cli(
      "bench",
      "-m",
      "tiny",
      "--precisions",
      "fp32",
      "--batches",
      "1,2",
      "--seconds",
      "1",
      "--json",
      "--plot",
      plot,
    );
    assert.equal(status, 0, stderr);
    const { rows } = JSON.parse(stdout) as {
      rows: {
        device: string;
        imagesPerSecond?: number;
        note?: string;
        latencyMs?: { p50: number; p99: number };
      }[];
    };
    const onCpu = rows.filter((r) => r.device === "cpu");
    assert.equal(onCpu.length, 2);
    for (const r of onCpu) assert.ok(r.imagesPerSecond! > 0 && r.latencyMs!.p50 <= r.latencyMs!.p99);
    const cuda = rows.find((r) => r.device.startsWith("cuda"))!;
    assert.ok(cuda.note ?? cuda.imagesPerSecond, JSON.stringify(cuda));
    assert.match(readFileSync(plot, "utf8"), /^<svg/);
  });
});
