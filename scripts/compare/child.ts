/** A process that runs one build, and the requests to it, one at a time. */
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { root } from "../../test/support/index.js";
import type { Answers, Reply, Request } from "./protocol.js";

export class Build {
  private readonly child: ChildProcess;

  /**
   * `isa`: the value of TORCHCLIP_ISA; "best" leaves the choice to the CPU. `addon`: an addon in place of the
   * tree's own.
   */
  constructor(tree: string, isa = "best", addon?: string) {
    const env = { ...process.env };
    delete env.TORCHCLIP_ISA;
    if (addon) env.TORCHCLIP_ADDON = addon;
    this.child = fork(join(root, "scripts/compare/worker.ts"), [tree], {
      cwd: root,
      execArgv: ["--import", "tsx"],
      env: isa === "best" ? env : { ...env, TORCHCLIP_ISA: isa },
    });
  }

  async ask<K extends Request["kind"]>(request: Extract<Request, { kind: K }>): Promise<Answers[K]> {
    const reply = await new Promise<Reply>((resolve, reject) => {
      const ended = (code: number | null, signal: string | null): void =>
        reject(new Error(`the process ended with ${code ?? signal} at ${JSON.stringify(request)}`));
      this.child.once("exit", ended);
      this.child.once("message", (message) => {
        this.child.off("exit", ended);
        resolve(message as Reply);
      });
      this.child.send(request);
    });
    if ("error" in reply) throw new Error(reply.error);
    return reply.value as Answers[K];
  }

  close(): void {
    this.child.kill();
  }
}
