/** A model repository of the Hugging Face hub, at one revision (branch, tag or commit). */
export interface HubId {
  repo: string;
  revision: string;
}

const NAME = /^(?:hf-hub:|hf:\/\/)?([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?$/;

/** "org/name", "org/name@revision", "hf-hub:org/name"; undefined for anything else. */
export function parseHubId(text: string): HubId | undefined {
  const [, repo, revision = "main"] = NAME.exec(text) ?? [];
  if (!repo || /^\.|\/\.|\.\.|--/.test(repo) || revision.includes("..")) return undefined;
  return { repo, revision };
}
