// Where a load puts the towers that it reads.

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { GpuModule } from "../engine/start-gpu.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { Exchange, LoadParams, Origin } from "../shared/protocol.js" */
/** @import { Taken, Target } from "./reading.js" */

/**
 * Where a load puts its towers, and the module that it puts them in.
 * @implements {Target}
 */
export class Place {
  /** @type {Module | GpuModule | null} */
  module = null;
  /** Bytes of memory that the weights take that have not come; known when a tower has come. */
  left = 0;

  /**
   * @param {(params: LoadParams, fileSize: Promise<number | null>, exchange: Exchange) => Promise<Module | GpuModule>} start
   * @param {(module: Module | GpuModule, towers: ClipEncoder, about: Taken, exchange: Exchange) => Promise<void>} put
   * @param {Target["onHeader"]} onHeader
   * @param {Origin} origin
   * @param {LoadParams} params
   * @param {Exchange} exchange
   */
  constructor(start, put, onHeader, origin, params, exchange) {
    this.onHeader = onHeader;
    this.origin = origin;
    this.open = async (/** @type {Promise<number | null>} */ fileSize) => (this.module = await start(params, fileSize, exchange));
    this.take = async (/** @type {ClipEncoder} */ towers, /** @type {Taken} */ about) => {
      await put(/** @type {Module} */ (this.module), towers, about, exchange);
      this.left = about.left;
    };
  }
}
