// The interface of a place that stores files: types only.

/**
 * @typedef {object} Folder the stored pieces of one file
 * @property {number} pieceSize bytes of a piece at most. If it is `Infinity`, a piece can be written at any position
 * @property {() => Promise<{ name: string, size: number }[]>} list
 * @property {(name: string) => Promise<string | null>} readText `null` if there is no such entry
 * @property {(name: string, text: string) => Promise<void>} writeText
 * @property {(name: string) => Promise<PieceReader>} reader
 * @property {(name: string, size: number) => Promise<PieceWriter>} writer of a piece that has `size` bytes already
 */

/** @typedef {{ read: (from: number, to: number) => Promise<Uint8Array>, close: () => void }} PieceReader */
/** @typedef {{ write: (bytes: Uint8Array, at: number) => void, close: () => Promise<void> }} PieceWriter */

/**
 * @typedef {object} Backend
 * @property {(id: string) => Promise<Folder>} folder of one file
 * @property {() => Promise<string[]>} ids
 * @property {(id: string) => Promise<void>} remove
 */

export {}; // a module, though it has only types
