import { addon, type NativeTrainer, type NativeTraining, type NativeTrainingBatch } from "../addon.js";
import { TorchclipError, toTorchclipError } from "../errors.js";
import { elements } from "../models/formats/types.js";

/** The parts of a trained tensor: its values, and the optimizer's moments. */
export const TRAINED_PARTS = ["values", "first", "second"] as const;
export type TrainedPart = (typeof TRAINED_PARTS)[number];

/** A model in training. Close it at the end. */
export class Trainer {
  private readonly cancel = new Int32Array(1);
  private readonly stop = () => Atomics.store(this.cancel, 0, 1);

  private constructor(
    private readonly native: NativeTrainer,
    /** Shapes of the trained tensors by name. */
    readonly shapes: ReadonlyMap<string, readonly number[]>,
    /** The device in use: "cpu", "cuda:0". */
    readonly device: string,
    private readonly signal: AbortSignal | undefined,
  ) {
    signal?.addEventListener("abort", this.stop, { once: true });
  }

  /** Compiles the towers of an artifact. E_ADDON where libtorch is missing. */
  static async load(artifact: string, settings: NativeTraining, signal?: AbortSignal): Promise<Trainer> {
    const native = new (addon().Trainer)();
    try {
      const { trained, device } = await native.load(artifact, settings);
      return new Trainer(native, new Map(trained), device, signal);
    } catch (error) {
      await native.close();
      throw toTorchclipError(error, "E_INTERNAL", { subject: artifact });
    }
  }

  /** Adds the gradient of a batch. */
  train(batch: NativeTrainingBatch) {
    return this.native.train(batch, this.cancel);
  }

  /** The loss of a batch without gradients and dropout. */
  test(batch: NativeTrainingBatch) {
    return this.native.test(batch, this.cancel);
  }

  /** Ends a step; the norm of its gradient before it was shortened. */
  update(learningRate: number): Promise<number> {
    return this.native.update(learningRate);
  }

  setSteps(steps: number): Promise<void> {
    return this.native.setSteps(steps);
  }

  /** A part of a trained tensor, float32 in the shape of the tensor. */
  async read(name: string, part: TrainedPart = "values"): Promise<Float32Array> {
    const out = new Float32Array(elements(this.shapeOf(name)));
    await this.native.read(name, partNumber(part), out);
    return out;
  }

  write(name: string, values: Float32Array, part: TrainedPart = "values"): Promise<void> {
    return this.native.write(name, partNumber(part), values);
  }

  shapeOf(name: string): readonly number[] {
    const shape = this.shapes.get(name);
    if (shape) return shape;
    throw new TorchclipError("E_INTERNAL", `${name} is not trained`, { subject: name });
  }

  async close(): Promise<void> {
    this.signal?.removeEventListener("abort", this.stop);
    await this.native.close();
  }
}

const partNumber = (part: TrainedPart) => TRAINED_PARTS.indexOf(part) as 0 | 1 | 2;
