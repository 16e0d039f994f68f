import assert from "node:assert/strict";
import { tableCell, tableCsv, tableHtml, tableMarkdown, type SavedResults } from "../../lib/eval/table.js";
import { STYLE } from "../../lib/report/style.js";
import { tablePage } from "../../lib/report/table.js";
import { carries, manifest } from "../support/report.js";

describe("the table of models and data sets", () => {
  const cell = (model: string, dataset: string, accuracy: number, seconds: number, parameters?: number) => {
    const interval = { low: accuracy - 0.1, high: accuracy + 0.1, method: "wilson" as const };
    const metrics = { accuracy, accuracyInterval: interval, topK: [], macro: { recall: accuracy } };
    const counts = { images: 100, evaluated: 100, skipped: 0 };
    const about = {
      ...manifest,
      model: { ...manifest.model, parameters },
      counts,
      seconds: { total: seconds },
    };
    return tableCell(
      model,
      dataset,
      { metrics, manifest: about } as unknown as SavedResults,
      `${model}/${dataset}/results.json`,
    );
  };
  const cells = [
    cell("tiny", "a", 0.5, 10),
    cell("tiny", "b", 0.9, 10),
    cell("ViT-B/32", "a", 0.7, 50),
    cell("ViT-B/32", "b", 0.8, 50),
    cell("x<y", "a", 0.6, 1),
  ];

  it("parameters: those that the run counted, for hub ids and paths too; of older results those of the name", () => {
    const counted = [
      cell("./my-model", "a", 0.5, 10, 228_865),
      cell("org/name", "a", 0.5, 10, 86.6e6),
      cell("ViT-B/32", "a", 0.5, 10),
    ];
    const column = tableMarkdown(counted)
      .split("\n")
      .slice(2, 5)
      .map((line) => line.split(" | ")[1]);
    assert.deepEqual(column, ["0.2 M", "87 M", "151 M"]);
    assert.match(tableCsv(counted), /,228865,/);
    assert.match(tableHtml(counted, ""), /<td>87 M<\/td>/);
  });

  it("its page carries fonts for the names of models and data sets, and the style of the reports", async () => {
    const html = await tablePage([cell("./模型", "동물", 0.5, 10)]);
    for (const char of "模型동물") assert.ok(carries(html, char), char);
    assert.ok(html.includes(STYLE));
  });

  it("the best of each column is bold, images/s too; means, parameters and speed", () => {
    const lines = tableMarkdown(cells).split("\n");
    assert.equal(lines[0], "| model | parameters | a (100) | b (100) | mean | images/s |");
    assert.equal(
      lines[2],
      "| tiny | 4.7 M | 50.00 % (40.00 % to 60.00 %) | **90.00 % (80.00 % to 100.00 %)** | 70.00 % | **10.0** |",
    );
    assert.equal(
      lines[3],
      "| ViT-B/32 | 151 M | **70.00 % (60.00 % to 80.00 %)** | 80.00 % (70.00 % to 90.00 %) | **75.00 %** | 2.0 |",
    );
    assert.equal(
      lines[4],
      "| x<y |  | 60.00 % (50.00 % to 70.00 %) |  |  | 100.0 |",
      "no mean, and no best speed, without all data sets",
    );
    const html = tableHtml(cells, "");
    assert.match(html, /<a href="ViT-B\/32\/a\/report.html"><b>70.00 %/);
    assert.match(html, /<td><b>10\.0<\/b><\/td><\/tr>/);
    assert.ok(html.includes("x&lt;y") && !html.includes("x<y"));
  });
});
