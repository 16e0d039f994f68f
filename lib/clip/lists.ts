import { TorchclipError } from "../errors.js";
import { messageOf } from "../options.js";

export function checkList(list: unknown, name: string): void {
  if (!Array.isArray(list))
    throw new TorchclipError("E_ARGUMENT", `${name} must be an array`, { subject: name });
}

/**
 * A copy of a list, so that it cannot change during the call. E_ARGUMENT, with the index, for an element that
 * cannot be read.
 */
export function copyList<T>(list: readonly T[], name: string): T[] {
  checkList(list, name);
  return Array.from({ length: list.length }, (_, index) => {
    try {
      return list[index];
    } catch (cause) {
      throw listError(index, cause);
    }
  });
}

export function listError(index: number, cause: unknown): TorchclipError {
  if (cause instanceof TorchclipError) return cause;
  return new TorchclipError(
    "E_ARGUMENT",
    `image ${index}: it cannot be read from the list: ${messageOf(cause)}`,
    { index, cause },
  );
}
