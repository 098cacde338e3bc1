// Where a load puts the towers that it reads.

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { GpuModule } from "../engine/start-gpu.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { Exchange, LoadParams, Origin } from "../shared/protocol.js" */
/** @import { Target } from "./reading.js" */

/**
 * Where a load puts its towers, and the module that it puts them in.
 * @implements {Target}
 */
export class Place {
  /** @type {Module | GpuModule | null} */
  module = null;

  /**
   * @param {(params: LoadParams, fileSize: Promise<number | null>, exchange: Exchange) => Promise<Module | GpuModule>} start
   * @param {(module: Module | GpuModule, towers: ClipEncoder, etag: string | null, isFirst: boolean, exchange: Exchange) => Promise<void>} put
   * @param {(params: LoadParams, header: Parameters<Target["onHeader"]>[0]) => void} onHeader
   * @param {Origin} origin
   * @param {LoadParams} params
   * @param {Exchange} exchange
   */
  constructor(start, put, onHeader, origin, params, exchange) {
    this.onHeader = (/** @type {Parameters<Target["onHeader"]>[0]} */ header) => onHeader(params, header);
    this.origin = origin;
    this.open = async (/** @type {Promise<number | null>} */ fileSize) => (this.module = await start(params, fileSize, exchange));
    this.take = (/** @type {ClipEncoder} */ towers, /** @type {string | null} */ etag, /** @type {boolean} */ isFirst) => put(/** @type {Module} */ (this.module), towers, etag, isFirst, exchange);
  }
}
