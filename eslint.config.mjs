import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "build/", "docs/api/", "node_modules/", "test/dependent/"] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { project: ["./tsconfig.json", "./test/tsconfig.json"], tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/restrict-template-expressions": "off",
      "@typescript-eslint/only-throw-error": "off",
      "@typescript-eslint/prefer-promise-reject-errors": "off",
    },
  },
  { files: ["**/*.mjs", "**/*.cts"], ...tseslint.configs.disableTypeChecked },
  { files: ["**/*.cts"], rules: { "@typescript-eslint/no-require-imports": "off" } },
  { files: ["test/**"], rules: { "@typescript-eslint/no-floating-promises": "off", "@typescript-eslint/no-unsafe-assignment": "off", "@typescript-eslint/no-unused-expressions": "off" } },
);
