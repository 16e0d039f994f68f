import { setup } from "./setup.mjs";

await setup().catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
