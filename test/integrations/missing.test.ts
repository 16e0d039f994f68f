import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, temporaryFolder } from "../support/index.js";
import { runNode } from "../support/process.js";

/** Packages that torchclip does not depend on, and what needs them. */
const OPTIONAL: Record<string, string> = {
  "@langchain/core": "langchain",
  "@llamaindex/core": "llamaindex",
  "@lancedb/lancedb": "lancedb",
};

describe("packages that are not installed", () => {
  const folder = temporaryFolder();
  const place = join(folder, "node_modules", "torchclip");

  /** A copy of the package beside all packages of the repository but those. */
  before(() => {
    mkdirSync(place, { recursive: true });
    writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "project", private: true }));
    for (const name of ["package.json", "dist", "models"])
      cpSync(join(root, name), join(place, name), { recursive: true });
    const left = [
      "@langchain",
      "@llamaindex",
      "@lancedb",
      "@modelcontextprotocol",
      "pg",
      "zod",
      "ai",
      "@ai-sdk",
    ];
    for (const name of readdirSync(join(root, "node_modules")))
      if (!left.includes(name) && !name.startsWith("."))
        symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  });

  function messageOf(args: string[]): string {
    const env = { TORCHCLIP_ADDON: join(root, "build/Release/torchclip.node") };
    const { status, stdout, stderr } = runNode(args, { cwd: folder, env });
    assert.notEqual(status, null, stderr);
    return stdout + stderr;
  }

  for (const [name, entry] of Object.entries(OPTIONAL)) {
    it(`torchclip/${entry} says which command installs ${name}, by import and by require`, () => {
      const pattern = new RegExp(`E_PACKAGE_MISSING torchclip/${entry} needs .*: npm install ${name}`);
      const caught = "(error) => console.log(error.code, error.message)";
      const imported = `import("torchclip/${entry}").catch(${caught})`;
      assert.match(messageOf(["--input-type=module", "--eval", imported]), pattern);
      const required = `try { require("torchclip/${entry}") } catch (error) { (${caught})(error) }`;
      assert.match(messageOf(["--input-type=commonjs", "--eval", required]), pattern);
    });
  }

  it("torchclip/ai-sdk needs no package", () => {
    const script = `import { torchclip } from "torchclip/ai-sdk"; console.log(torchclip("tiny").modelId);`;
    assert.equal(messageOf(["--input-type=module", "--eval", script]).trim(), "tiny");
  });

  it("the command line names the packages of mcp and of the databases", () => {
    const cli = (...args: string[]) => messageOf([join(place, "dist/cli/main.js"), ...args]);
    assert.match(
      cli("mcp"),
      /E_PACKAGE_MISSING: torchclip mcp needs .*npm install @modelcontextprotocol\/sdk/,
    );
    const texts = join(place, "package.json");
    const to = (target: string) => cli("embed", "--texts", texts, "--truncate", "--to", target);
    assert.match(to("pgvector://localhost/db"), /E_PACKAGE_MISSING: .*npm install pg$/m);
    assert.match(to(`lancedb:${join(folder, "db")}`), /E_PACKAGE_MISSING: .*npm install @lancedb\/lancedb@/);
  });
});
