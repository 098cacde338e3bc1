// What the tests put on `window` in a page, for later calls of `evaluate`.

import type { ClipEncoder, Embedded, Embeddings, ImageSource, LoadOptions, Warning } from "../../../www/clip.js";
import type { Outcome } from "./loads.mjs";

type Api = typeof import("../../../www/clip.js");

/** The result of a call: of embeddings the first vector, and `done` if there is none. */
export type Told<Result> = Result extends Embeddings ? number[] : Result extends void ? "done" : Result;

declare global {
  /** Members of `window` and not variables: with variables, tsc would miss mistyped names in the sources of the page. */
  interface Window extends Api {
    // openApi in loads.mjs
    /** The bytes of fixtures/cat.png. */
    cat: Uint8Array<ArrayBuffer>;
    /** Loads a model, and embeds a text and an image with it. */
    outcomeOf(url: string, options?: LoadOptions): Promise<Outcome>;
    /** The error code of a call, or `no error`. */
    codeOf(call: Promise<unknown>): Promise<string>;
    /** The result of a call, or the code and the message of its error in one string. */
    told<Result>(call: Promise<Result>): Promise<Told<Result> | string>;
    /** All warnings that `onWarning` was called with. */
    warnings: string[];
    onWarning(warning: Warning): void;

    // pageWithWorkers in gpu.mjs
    loseGpu(): Promise<void>;

    // Used by several tests
    clip: ClipEncoder;
    abort: AbortController;
    loading: Promise<Outcome>;
    outcome: Promise<unknown>;
    images: ImageSource[];
    /** An image that has the named effect on the worker that reads or embeds it. */
    image(effect: string): Blob | Uint8Array<ArrayBuffer>;

    // inputs.test.mjs
    /** How many streams have been cancelled. */
    ended: number;

    // calls.test.mjs
    tiny: ClipEncoder;
    /** The URL of a sample image. */
    HEARTS: string;

    // images.test.mjs
    /** A list of all that `clip.embedEach` yields. */
    each(...images: Parameters<ClipEncoder["embedEach"]>): Promise<Embedded[]>;
    taking: ReturnType<ClipEncoder["embedEach"]>;

    // together.test.mjs
    messages: number[];

    // endpoint.test.mjs
    stopEndpoint(): void;
    codesTold: string[];

    // soak.test.mjs
    /** Embeds every input once, and returns what differs from the first time. */
    pass(): Promise<string[]>;
    /** The error codes of the first pass. */
    codes(): string[];

    // usable.test.mjs
    axe: typeof import("axe-core");

    // search.test.mjs
    /** Everything that has moved on the page. */
    shifts: string[];

    // SearchPage in search-page.mjs
    /** The number of images that were sent to the encoder. */
    embeddings: number;

    // addDeaths in deaths.mjs
    TRAP: string;
    END: string;
    END_HELPER: string;
    /** The number of workers, after those that were ended are gone. */
    held(): Promise<number>;

    // runPlain in plain.mjs
    tell(told: unknown): Promise<any>;
    gc(): void;

    // visit.mjs of the engines
    clipApi(): Promise<Api>;
    permissionsAsked: number;

    // In workers, on `self`
    /** The memory of each instance of a module. */
    made: WebAssembly.Memory[];
  }
}
