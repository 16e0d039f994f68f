import { setMaxListeners } from "node:events";
import type { FastifyReply, FastifyRequest } from "fastify";
import { LongStrings } from "./json-body.js";
import type { ServedModel } from "./model.js";

/** What the server keeps of a request while it is in work. */
export class RequestState {
  /** Ends the request's work: aborted when the client goes away, an item fails or the server must end. */
  readonly controller = new AbortController();
  readonly began = performance.now();
  /** The JSON body, which `strings` are parts of. */
  body?: Buffer;
  strings = new LongStrings();
  /** For the log and the metrics. */
  model?: string;
  items = 0;
  code?: string;
  /** Bytes of the body that count in the budget of bodies. */
  bytes = 0;

  constructor() {
    setMaxListeners(0, this.controller.signal); // one for each item of the request
  }

  /** Notes which model answers, and tells it to the client. */
  answeredBy(model: ServedModel, reply: FastifyReply): void {
    this.model = model.name;
    void reply.header("x-torchclip-fingerprint", model.fingerprint);
  }
}

const NAME = "torchclip";

export function setState(request: FastifyRequest, state: RequestState): void {
  request.setDecorator(NAME, state);
}

export function stateOf(request: FastifyRequest): RequestState {
  return request.getDecorator<RequestState>(NAME);
}

export const STATE_DECORATOR = NAME;
