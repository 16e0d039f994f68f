import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { TowerChoice } from "../clip/towers.js";
import { TorchclipError } from "../errors.js";
import type { IndexModel, StoredIndex } from "../search/stored.js";
import { shown } from "../util/untrusted.js";
import { note, remark } from "./io.js";
import { loadOptions, type ImageFlags, type ModelFlags } from "./options.js";

export interface IndexFlags extends ModelFlags, ImageFlags {
  /** Whether --model stands on the command line: `model` has a default in any case. */
  isModelGiven: boolean;
  force?: boolean;
  /** The towers that the queries need. */
  towers?: TowerChoice;
}

/**
 * Loads the model for queries to an index: the one that the command line names, else the one that made the
 * index. Embeddings of other weights cannot be compared: those are E_ARGUMENT, with `force` a note. Where
 * neither the index nor the command line names a model, that is E_ARGUMENT, too.
 */
export async function loadForIndex(
  stored: StoredIndex,
  flags: IndexFlags,
  signal: AbortSignal,
): Promise<Clip> {
  const name = flags.isModelGiven ? flags.model : ownModel(stored, flags);
  const clip = await load(name, { ...loadOptions(flags, signal), towers: flags.towers }).catch(
    (error: unknown) => {
      throw flags.isModelGiven ? error : withHint(error, stored);
    },
  );
  try {
    checkWeights(stored, { name, sha256: clip.info.config.source.sha256 }, flags.force);
    checkDim(stored, clip, name);
    return clip;
  } catch (error) {
    await clip.close();
    throw error;
  }
}

/** The name of the model that made the index. */
function ownModel({ file, record, recordFile }: StoredIndex, { trustCode }: ModelFlags): string {
  if (!record.model) {
    const why = recordFile === undefined ? `there is no ${file}.json` : `${recordFile} names none`;
    throw argument("model", `which model made ${file} is not known (${why}): name it by --model`);
  }
  if (trustCode) throw argument("trustCode", "--trust-code is for a file that you name: give it by --model");
  note(`Model: ${shown(record.model.name)}, which ${recordFile ?? file} names.`);
  return record.model.name;
}

function withHint(error: unknown, { file }: StoredIndex): unknown {
  if (!(error instanceof TorchclipError) || error.code !== "E_MODEL_NOT_FOUND") return error;
  const message = `the model that made ${file} is not here: ${error.message}; --model says where it is`;
  return new TorchclipError(error.code, message, { subject: error.subject, cause: error });
}

function checkWeights({ file, record }: StoredIndex, used: IndexModel, force: boolean | undefined): void {
  if (!record.model || record.model.sha256 === used.sha256) return;
  const difference = `${file} was embedded with ${described(record.model)}, not with ${described(used)}`;
  if (!force) {
    const advice = "leave --model out for the index's own model, or search all the same by --force";
    throw argument("model", `${difference}; ${advice}`);
  }
  remark(`${difference}; the scores mean nothing unless the two agree.`);
}

function described({ name, sha256 }: IndexModel): string {
  return `${shown(name)} (weights of SHA-256 ${shown(sha256).slice(0, 12)}…)`;
}

function checkDim({ file, index }: StoredIndex, clip: Clip, name: string): void {
  if (clip.info.embedDim === index.dim) return;
  throw argument(file, `${file} holds vectors of ${index.dim}, ${shown(name)} makes ${clip.info.embedDim}`);
}

function argument(subject: string, message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject });
}
