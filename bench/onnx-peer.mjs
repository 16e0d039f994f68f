// onnxruntime-node as a peer: sessions of the models that bench/models.py writes to FOLDER/onnx.
import { join } from "node:path";
import ort from "onnxruntime-node";

/** @typedef {import("onnxruntime-node").InferenceSession} Session */

/**
 * @param {string} folder
 * @param {string} file
 */
export function openSession(folder, file) {
  return ort.InferenceSession.create(join(folder, "onnx", file), { graphOptimizationLevel: "all" });
}

/**
 * The input of an image tower.
 * @param {Float32Array} floats [batch, 3, size, size]
 * @param {number} batch
 * @param {number} size
 */
export function imageInput(floats, batch, size) {
  return { pixel_values: new ort.Tensor("float32", floats, [batch, 3, size, size]) };
}

/**
 * The input of a text tower.
 * @param {BigInt64Array} ids [rows, length]
 * @param {number} rows
 * @param {number} length
 */
export function textInput(ids, rows, length) {
  return { input_ids: new ort.Tensor("int64", ids, [rows, length]) };
}

/**
 * @param {Session} session
 * @param {import("onnxruntime-node").InferenceSession.FeedsType} input
 */
export async function embeddingsOf(session, input) {
  const { embeds } = await session.run(input);
  const { data, type } = embeds;
  if (!(data instanceof Float32Array)) throw new Error(`the embeddings are ${type}, not float32`);
  return data;
}
