export { ClipServer, createServer } from "./server.js";
export type { ListenOptions } from "./server.js";
export type { IndexFile, IndexServer, ServerOptions } from "./options.js";
