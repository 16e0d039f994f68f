import type { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";
import { toTorchclipError, withoutIndex } from "../errors.js";
import { mapLimited } from "../util/iterate.js";
import { importOptional } from "../util/optional-package.js";
import { packageVersion } from "../util/package.js";
import { classifyImage, embed, searchImages, type Hit, type ToolContext } from "./tools.js";

const FEATURE = "torchclip mcp";
/** Longest side of a thumbnail, in pixels. */
const THUMBNAIL = 256;
const THUMBNAILS_AT_ONCE = 4;
const MOST_HITS = 100;
const MOST_LABELS = 1000;
const MOST_ITEMS = 256;
const READ_ONLY = { readOnlyHint: true, idempotentHint: true };

/**
 * A server of the Model Context Protocol with the tools `search_images` (where an index is open),
 * `classify_image` and `embed`. The caller connects a transport. E_PACKAGE_MISSING without
 * @modelcontextprotocol/sdk or zod.
 */
export async function createMcpServer(context: ToolContext): Promise<McpServer> {
  const { McpServer } = await importOptional(
    "@modelcontextprotocol/sdk",
    FEATURE,
    () => import("@modelcontextprotocol/sdk/server/mcp.js"),
  );
  const { z } = await importOptional("zod", FEATURE, () => import("zod"));
  const server = new McpServer({ name: "torchclip", version: packageVersion() });
  if (context.stored) addSearch(server, z, context);
  addClassify(server, z, context);
  addEmbed(server, z, context);
  return server;
}

/** Zod, which the SDK describes the arguments of tools with. */
type Zod = typeof import("zod").z;

function addSearch(server: McpServer, z: Zod, context: ToolContext): void {
  const inputSchema = {
    query: z.string().min(1).optional().describe("what the images show, in words; or give image"),
    image: z.string().min(1).optional().describe("path or URL of an image that is like those sought"),
    top_k: z.number().int().min(1).max(MOST_HITS).default(10).describe("how many images"),
    thumbnails: z.boolean().default(false).describe("whether to return small copies of the images found"),
  };
  const hit = {
    rank: z.number(),
    row: z.number(),
    name: z.string(),
    score: z.number(),
    path: z.string().optional(),
  };
  const config = {
    title: "Search images",
    description:
      "Finds the images of a collection that are nearest to a description in words, or to another image. " +
      "The score is the cosine of CLIP embeddings: compare scores within one search only.",
    inputSchema,
    outputSchema: { hits: z.array(z.object(hit)) },
    annotations: READ_ONLY,
  };
  server.registerTool("search_images", config, ({ thumbnails, ...given }, { signal }) =>
    answer(async () => {
      const hits = await searchImages(context, given, signal);
      const images = thumbnails ? await thumbnailsOf(hits) : [];
      return { ...structured({ hits }), content: [...structured({ hits }).content, ...images] };
    }),
  );
}

function addClassify(server: McpServer, z: Zod, context: ToolContext): void {
  const inputSchema = {
    image: z.string().min(1).describe("path or URL of the image"),
    labels: z.array(z.string().min(1)).min(1).max(MOST_LABELS).describe("what it may show, in words"),
    template: z.string().optional().describe('prompt with {} for the label; default "a photo of a {}"'),
    top_k: z.number().int().min(1).optional().describe("how many labels; default all"),
  };
  const label = { label: z.string(), probability: z.number(), cosine: z.number() };
  const config = {
    title: "Classify an image",
    description:
      "Ranks labels by how well they describe an image. With a model of the softmax loss, probabilities are " +
      "shares among the labels of the call and add up to 1, also where none of them fits.",
    inputSchema,
    outputSchema: { predictions: z.array(z.object(label)) },
    annotations: READ_ONLY,
  };
  server.registerTool("classify_image", config, (given, { signal }) =>
    answer(async () => structured({ predictions: await classifyImage(context, given, signal) })),
  );
}

function addEmbed(server: McpServer, z: Zod, context: ToolContext): void {
  const items = (what: string) => z.array(z.string().min(1)).min(1).max(MOST_ITEMS).optional().describe(what);
  const config = {
    title: "Embed texts or images",
    description:
      "CLIP embeddings of texts or of images: normalised vectors in one space, compared by their inner product.",
    inputSchema: { texts: items("texts; or give images"), images: items("paths or URLs of images") },
    outputSchema: {
      model: z.string(),
      dim: z.number(),
      embeddings: z.array(z.array(z.number())),
    },
    annotations: READ_ONLY,
  };
  server.registerTool("embed", config, (given, { signal }) =>
    answer(async () => structured({ ...(await embed(context, given, signal)) })),
  );
}

/** The result, and the same as JSON for clients that read texts alone. */
function structured(result: Record<string, unknown>) {
  const content: CallToolResult["content"] = [{ type: "text", text: JSON.stringify(result) }];
  return { content, structuredContent: result };
}

/** An error is an answer, too: the client's model reads it and may call again. */
async function answer(work: () => Promise<CallToolResult>): Promise<CallToolResult> {
  try {
    return await work();
  } catch (error) {
    const known = toTorchclipError(error);
    return { isError: true, content: [{ type: "text", text: `${known.code}: ${withoutIndex(known)}` }] };
  }
}

/** A few at a time: as many decoded images as there may be hits would take gigabytes. */
async function thumbnailsOf(hits: readonly Hit[]): Promise<CallToolResult["content"]> {
  const { thumbnail } = await import("../report/images.js");
  const paths = hits.flatMap(({ path }) => path ?? []);
  return mapLimited(paths, THUMBNAILS_AT_ONCE, async (path) => {
    const data = (await thumbnail(path, THUMBNAIL)).toString("base64");
    return { type: "image" as const, mimeType: "image/webp", data };
  });
}
