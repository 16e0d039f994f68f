export { ClipServer, createServer } from "./server.js";
export type { ListenOptions } from "./server.js";
export type { IndexOptions as ServedIndexOptions, ServerOptions } from "./options.js";
