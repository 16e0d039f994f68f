import tseslint from "typescript-eslint";

/** A function has one job: about 60 lines. A file has one subject: at most 400. */
const lengths = {
  "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
  "max-lines": ["error", { max: 400 }],
};

export default tseslint.config(
  { ignores: ["dist/", "build/", "docs/api/", "node_modules/", "test/dependent/"] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        project: ["./tsconfig.json", "./test/tsconfig.json"],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      ...lengths,
      "no-nested-ternary": "error",
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
    },
  },
  { files: ["**/*.mjs", "**/*.cts"], ...tseslint.configs.disableTypeChecked },
  { files: ["**/*.cts"], rules: { "@typescript-eslint/no-require-imports": "off" } },
  // A suite is one function that holds its cases.
  { files: ["test/**"], rules: { "max-lines-per-function": "off" } },
);
