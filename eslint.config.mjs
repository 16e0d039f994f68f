import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

/**
 * A function has one job: about 60 lines. A file has one subject: at most 400.
 * @type {import("eslint").Linter.RulesRecord}
 */
const lengths = {
  "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
  "max-lines": ["error", { max: 400 }],
};

export default defineConfig(
  { ignores: ["dist/", "build*/", "docs/api/", "node_modules/", "test/dependent/"] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        project: ["./test/tsconfig.json", "./scripts/tsconfig.json"],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      ...lengths,
      "no-nested-ternary": "error",
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
    },
  },
  {
    // What reads untrusted files is checked with noUncheckedIndexedAccess.
    files: ["lib/{datasets,images,models,text,util}/**"],
    languageOptions: { parserOptions: { project: ["./lib/tsconfig.untrusted.json"] } },
  },
  {
    // Generated tables.
    files: ["lib/datasets/clip-sets/prompts.ts", "lib/models/catalog/published.ts"],
    rules: { "max-lines": "off" },
  },
  {
    files: ["test/**"],
    rules: {
      // A suite is one function that holds its cases.
      "max-lines-per-function": "off",
      // What a test looks up and does not find fails it at once, with the line where it was looked up.
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
