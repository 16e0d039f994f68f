import { TorchclipError } from "../errors.js";

/** `{}` in each template is where the class name goes. */
export function fillTemplate(template: string, className: string): string {
  return template.replaceAll("{}", () => className); // a string's "$&" would be taken for a pattern
}

/** Checks that every template names the place of the class. */
export function checkTemplates(templates: readonly string[]): void {
  if (templates.length === 0) throw new TorchclipError("E_ARGUMENT", "no prompt template was given");
  for (const t of templates) {
    if (!t.includes("{}"))
      throw new TorchclipError(
        "E_ARGUMENT",
        `the prompt template ${JSON.stringify(t)} has no {} for the class name`,
        { subject: t },
      );
  }
}

/** A set of templates with the place that it comes from. */
export interface PromptSet {
  templates: string[];
  source: string;
}

export const ARTICLE_PROMPTS: PromptSet = {
  templates: ["a photo of a {}"],
  source:
    "CLIP (Radford et al. 2021), section 3.1.4, as shortened in the article that this project began from",
};

export const OPENAI_RENDERED_SST2_PROMPTS: PromptSet = {
  templates: ["a {} review of a movie."],
  source: "openai/CLIP, data/prompts.md, section RenderedSST2",
};
